// Stands for a module that is not needed and not served everywhere: see ../../go.mod.
module github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc

go 1.26.0
