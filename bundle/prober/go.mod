module kube-service-lab/bundle/prober

go 1.26.0
