import torch

from etbac.training.probes import probe


def test_a_probe_learns_what_is_linear_and_ignores_what_is_constant() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(600, 5, generator=generator)
    features[:, 4] = 3.0
    labels = (features[:, 0] > features[:, 1]).long()
    answers = probe(features[:400], labels[:400], 2, features[400:])
    torch.testing.assert_close(answers.sum(1), torch.ones(200))
    assert (answers.argmax(1) == labels[400:]).float().mean() > 0.97
