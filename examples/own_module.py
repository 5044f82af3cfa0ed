"""Exits on a network of your own. Run: python examples/own_module.py FOLDER (of Fashion-MNIST's four files)."""

import sys

import torch

import etbac


def network() -> torch.nn.Module:
    def block(before: int, after: int) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(before, after, 3, 2, 1), torch.nn.BatchNorm2d(after), torch.nn.ReLU()
        )

    blocks = [block(1, 16), block(16, 32), block(32, 64)]
    return torch.nn.Sequential(*blocks, torch.nn.Flatten(), torch.nn.Linear(64 * 4 * 4, 10))


if __name__ == "__main__":
    factory = "own_module:network"  # how a checkpoint makes the network again
    etbac.train(factory, data=sys.argv[1], exits=["0", "1"], out="own.pt")  # trained here; or give a trained module
    print(etbac.optimize("own.pt", "own", precision=0.99, factory=factory, uncertified=True).figures)
