"""kube-service-lab: a real kubeadm cluster, and proof that a Kubernetes Service does what it promises."""

from importlib.metadata import version

__version__ = version("kube-service-lab")
