"""What others publish, as they publish it: not measured here."""

EARLYON = (
    "earlyon 0.3.0 (PyPI, MIT), a toolkit for early exits in PyTorch, is not measured: it needs torchvision, and "
    "its models are its own. Its README publishes, for ResNet-18 on CIFAR-10 at 224², batch 1, on an RTX 4050 "
    "Laptop GPU: backbone 94.07%, p50 1.33 ms, p95 1.51 ms, 712 images a second; with exits 92.92%, p50 1.43 ms, "
    "p95 1.46 ms, 782 images a second (1.10 ×); MobileNetV2 as the static rival 92.67%, p50 1.40 ms, p95 1.48 ms, "
    "702 images a second. Batches leave together there, at the earliest exit that every sample clears. Another "
    "network, other data, another device: none of this can be compared with the rows here; the nearest row is the "
    "early exit with a mask."
)
SOURCE = "https://pypi.org/project/earlyon/0.3.0/"
