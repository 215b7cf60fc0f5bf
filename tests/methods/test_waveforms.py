"""WaveNet and the one-dimensional auto-encoder: slow loops, what may see what, sounds told apart."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.methods import WaveformAutoEncoder, WaveNet
from novanda.methods.wavenet import WaveNetNetwork, as_levels
from novanda.metrics import auroc
from novanda.training import Training

SMALL = WaveNet(width=6, skip_width=5, layers=3, blocks=2)


def tones(seed: int, count: int, pitch: float, side: int = 16) -> np.ndarray:
    """Hums of about one pitch with noise, mu-law levels as (N, side, side) uint8: a sequence row by row."""
    generator = np.random.default_rng(seed)
    time = np.arange(side**2)
    phases, detuned = generator.uniform(0, 2 * math.pi, (count, 1)), generator.uniform(0.95, 1.05, (count, 1))
    sound = 0.4 * np.sin(pitch * detuned * time + phases) + 0.01 * generator.normal(size=(count, len(time)))
    curved = np.sign(sound) * np.log1p(255 * np.abs(sound)) / np.log1p(255)
    levels: np.ndarray = ((curved + 1) * 127.5).round().astype(np.uint8).reshape(count, side, side)
    return levels


def built(method: WaveNet = SMALL) -> WaveNetNetwork:
    torch.manual_seed(0)
    return WaveNetNetwork(method.width, method.skip_width, method.kernel, method.layers, method.blocks).double().eval()


def by_loops(network: WaveNetNetwork, levels: list[int]) -> np.ndarray:
    """Logits (256, T) of one sequence, one place at a time (van den Oord et al. 2016)."""
    state = {name: part.double().numpy() for name, part in network.state_dict().items()}
    length = len(levels)
    x = [state["embedding.weight"][level] for level in [128, *levels[:-1]]]
    total = [np.zeros(state["layers.0.skip.bias"].shape) for _ in range(length)]
    for number in range(len(network.layers)):
        weight, bias = (state[f"layers.{number}.filter_and_gate.{part}"] for part in ("weight", "bias"))
        kernel, width = weight.shape[2], len(x[0])
        dilation = 2 ** (number % SMALL.layers)
        after = []
        for t in range(length):
            mixed = bias.copy()
            for tap in range(kernel):
                place = t - (kernel - 1 - tap) * dilation
                if place >= 0:
                    mixed += weight[:, :, tap] @ x[place]
            active = np.tanh(mixed[:width]) / (1 + np.exp(-mixed[width:]))
            skip, residual = f"layers.{number}.skip", f"layers.{number}.residual"
            total[t] = total[t] + state[f"{skip}.weight"][:, :, 0] @ active + state[f"{skip}.bias"]
            after.append(x[t] + state[f"{residual}.weight"][:, :, 0] @ active + state[f"{residual}.bias"])
        x = after
    out = []
    for summed in total:
        hidden = state["head.1.weight"][:, :, 0] @ np.maximum(summed, 0) + state["head.1.bias"]
        out.append(state["head.3.weight"][:, :, 0] @ np.maximum(hidden, 0) + state["head.3.bias"])
    return np.stack(out, 1)


def test_wavenet_by_loops() -> None:
    network, levels = built(), torch.randint(256, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = network(levels)
    for own, sequence in zip(found, levels.tolist(), strict=True):
        np.testing.assert_allclose(own, by_loops(network, sequence), atol=1e-10)


def test_a_level_is_predicted_from_those_before_it_and_from_all_of_them() -> None:
    method = WaveNet(width=6, skip_width=5, layers=3, blocks=2)
    network, levels = built(method), torch.randint(256, (1, 60), generator=torch.Generator().manual_seed(1))
    reach = method.blocks * (method.kernel - 1) * (2**method.layers - 1) + 1
    with torch.no_grad():
        before = network(levels)
        for place in (0, 20, 59):
            changed = levels.clone()
            changed[0, place] = (changed[0, place] + 100) % 256
            moved = (network(changed) - before).abs().amax(1)[0] > 0
            assert moved.nonzero().flatten().tolist() == list(range(place + 1, min(60, place + 1 + reach)))


def test_the_default_sees_a_segment_of_its_authors() -> None:
    method = WaveNet()
    assert 4000 < method.blocks * (method.kernel - 1) * (2**method.layers - 1) <= 4096


@pytest.mark.parametrize("length", [40, 5000])
def test_scores_by_loops(length: int) -> None:
    network = built().float()
    samples = torch.rand(10, 1, 1, length, generator=torch.Generator().manual_seed(2)) * 2 - 1
    levels = as_levels(samples)
    with torch.no_grad():
        found = SMALL.novelty(network, {}, samples)
        logits = network(levels).double().numpy()
    for place, truth in enumerate(levels.numpy()):
        squares, surprises = [], []
        for t, level in enumerate(truth):
            here = logits[place, :, t]
            squares.append((int(here.argmax()) * 2 / 255 - level * 2 / 255) ** 2)
            surprises.append(np.log(np.exp(here - here.max()).sum()) + here.max() - here[level])
        assert found["squared_error"][place] == pytest.approx(np.mean(squares), rel=1e-4)
        assert found["surprise"][place] == pytest.approx(np.mean(surprises), rel=1e-4)


def test_levels_are_those_of_the_file() -> None:
    raw = torch.arange(256.0)
    assert torch.equal(as_levels((raw / 127.5 - 1).view(1, 1, 1, 256))[0], raw.long())
    assert as_levels(torch.tensor([[[[-3.0, 3.0]]]])).tolist() == [[0, 255]], "louder than full scale is cut"


def test_another_pitch_surprises() -> None:
    method = WaveNet(width=16, skip_width=16, layers=5, blocks=1)
    training = Training(epochs=12, batch_size=16, learning_rate=1e-2, device="cpu", precision="32")
    detector = Detector(method, training, calibration_fraction=0.0).fit(tones(0, 120, 0.3), kind="waveform")
    first, last = (detector.history_[place].terms["surprise"] for place in (0, -1))
    assert last < 0.8 * first
    scores = [detector.novelty_scores(tones(seed, 30, pitch)) for seed, pitch in ((1, 0.3), (2, 0.9))]
    for name in ("squared_error", "surprise"):
        assert auroc(scores[0][name], scores[1][name]) > 0.95, name


def test_the_auto_encoder_fills_up_and_cuts_off() -> None:
    torch.manual_seed(0)
    method = WaveformAutoEncoder(width=4, latent_dim=3)
    network = method.build(None, 0).eval()  # type: ignore[arg-type]  # it takes any
    for length in (5, 1024, 1500):
        sound = torch.rand(2, 1, 1, length)
        filled = torch.nn.functional.pad(sound, (0, -length % 1024))
        with torch.no_grad():
            drawn, whole = (method.reconstruct(network, {}, part) for part in (sound, filled))
            assert drawn.shape == sound.shape
            torch.testing.assert_close(drawn, whole[..., :length])
            assert method.embed(network, {}, sound).shape == (2, 3)
            errors = method.novelty(network, {}, sound)
        gaps = (drawn - sound).double().flatten(1).numpy()
        np.testing.assert_allclose(errors["mse"], (gaps**2).mean(1), rtol=1e-5)
        np.testing.assert_allclose(errors["l1"], np.abs(gaps).mean(1), rtol=1e-5)


def test_the_auto_encoder_has_ten_convolutions_and_its_loss_is_the_squared_error() -> None:
    network = WaveformAutoEncoder().build(None, 0)  # type: ignore[arg-type]  # it takes any
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv1d | torch.nn.ConvTranspose1d)]
    assert len(convolutions) == 10
    assert [(m.in_channels, m.out_channels) for m in convolutions] == list(
        itertools.pairwise([1, 32, 64, 128, 256, 32, 256, 128, 64, 32, 1])
    )


def test_the_auto_encoder_draws_what_it_knows() -> None:
    training = Training(epochs=30, batch_size=16, learning_rate=3e-3, device="cpu", precision="32")
    method = WaveformAutoEncoder(width=8, latent_dim=8)
    detector = Detector(method, training, calibration_fraction=0.0).fit(tones(0, 120, 0.05), kind="waveform")
    scores = [detector.novelty_score(tones(seed, 30, pitch)) for seed, pitch in ((1, 0.05), (2, 0.9))]
    assert auroc(*scores) > 0.95


@pytest.mark.parametrize(
    ("field", "value"), [("width", 0), ("skip_width", 0), ("kernel", 1), ("layers", 0), ("layers", 17), ("blocks", 0)]
)
def test_bad_fields_are_named(field: str, value: int) -> None:
    with pytest.raises(InputError, match=rf"WaveNet\.{field} must be "):
        WaveNet(**{field: value})  # type: ignore[arg-type]  # a name is told apart by no type
