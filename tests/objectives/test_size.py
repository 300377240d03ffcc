import pytest
import torch
from torch import nn

from objectives._size import count_macs, count_parameters

EXAMPLE = torch.randn(2, 5, 8)  # two sequences of five steps of eight numbers


class Last(nn.Module):
    """A sequence model and a linear layer on its last step."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        y = self.body(x)
        return self.head((y[0] if isinstance(y, tuple) else y)[:, -1])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # each step multiplies the input (8) and the state (16) by the weights of 16 units, for each gate
        (nn.RNN(8, 16, batch_first=True), 5 * (8 + 16) * 16),
        (nn.GRU(8, 16, batch_first=True), 5 * (8 + 16) * 16 * 3),
        (nn.LSTM(8, 16, batch_first=True), 5 * (8 + 16) * 16 * 4),
        # embedding; then for each of 5 positions query, key, value, output and two layers of 32,
        # and two products of 5 x 16 with 5 x 16 for the attention
        (
            nn.Sequential(nn.Linear(8, 16), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)),
            5 * (8 * 16 + 4 * 16 * 16 + 2 * 16 * 32) + 2 * 5 * 5 * 16,
        ),
    ],
    ids=["rnn", "gru", "lstm", "transformer"],
)
def test_macs_are_those_counted_by_hand(body, expected: int) -> None:
    assert count_macs(Last(body).eval(), EXAMPLE).value == expected + 16 * 3


def test_macs_of_a_convolution() -> None:
    model = nn.Conv2d(3, 4, 3, padding=1).eval()
    assert count_macs(model, torch.randn(2, 3, 6, 6)).value == 6 * 6 * 4 * 3 * 9


def test_a_model_without_anything_that_counts_has_no_macs() -> None:
    estimate = count_macs(nn.ReLU(), EXAMPLE)
    assert estimate.value is None
    assert "none of the model's operators" in estimate.reason


def test_counting_leaves_torch_as_it_was() -> None:
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    count_macs(nn.Linear(8, 3), EXAMPLE)
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == before


def test_shared_parameters_count_once() -> None:
    layer = nn.Linear(8, 8)
    assert count_parameters(nn.Sequential(layer, layer)).value == 8 * 8 + 8
