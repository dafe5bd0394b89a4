module kube-service-lab/bundle/mytest

go 1.26.0
