"""Every loss: its value beside an independent one, its gradient, and a step of training with it."""

import numpy as np
import pytest
import torch
import torchvision
from helpers.losses import COMPARISONS, FILES, STD, batch_of, patches, small_loss
from helpers.models import TINY
from scipy.ndimage import correlate1d
from skimage.metrics import structural_similarity

from liif.core.errors import UserError
from liif.models.build import ModelConfig, build_model
from liif.training.losses.build import LOSSES
from liif.training.losses.lpips import LpipsConfig
from liif.training.losses.ms_ssim import EXPONENTS, MsSsimConfig
from liif.training.losses.pretrained import feature_layers
from liif.training.losses.terms import LossTerms
from liif.training.losses.vgg import VggConfig, conv_names
from liif.training.step import train_step

# Of every loss


@pytest.fixture(params=COMPARISONS)
def config(request, tmp_path):
    return small_loss(request.param, tmp_path)


def test_a_step_reaches_every_weight(config):
    model = build_model(ModelConfig.model_validate(TINY))
    losses = LossTerms([config], std=model.std)
    optimizer = torch.optim.Adam(model.parameters())
    _, _, batch = patches(config.smallest_patch)
    model_before = [p.detach().clone() for p in model.parameters()]
    own = [p for p in losses.parameters() if p.requires_grad]
    own_before = [p.detach().clone() for p in own]
    result = train_step(model, optimizer, batch, learning_rate=1e-3, losses=losses)
    assert result.loss == result.terms[config.name] > 0 and result.gradient_norm > 0
    for parameter in (*model.parameters(), *own):
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0
    for before, now in zip((*model_before, *own_before), (*model.parameters(), *own), strict=True):
        assert not torch.equal(before, now)


def test_the_gradient_is_that_of_finite_differences(config):
    rgb, target, batch = patches(config.smallest_patch)
    loss = config.build(3, STD).double()
    rgb, target = rgb.double().requires_grad_(), target.double()
    loss(rgb, target, batch).backward()
    with torch.no_grad():
        for seed in range(2):
            way = torch.randn(rgb.shape, generator=torch.Generator().manual_seed(seed)).double()
            ahead, behind = (loss(rgb + h * way, target, batch) for h in (1e-7, -1e-7))
            expected = ((ahead - behind) / 2e-7).item()
            assert (rgb.grad * way).sum().item() == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_the_gradient_is_finite_where_nothing_differs_and_where_nothing_is(config):
    rgb, target, batch = patches(config.smallest_patch)
    loss = config.build(3, STD)
    for predicted, true in ((target, target), (0 * rgb, 0 * rgb), (0 * rgb, target)):
        predicted = predicted.clone().requires_grad_()
        value = loss(predicted, true, batch)
        value.backward()
        assert value.isfinite() and predicted.grad.isfinite().all()
        assert predicted.grad.abs().max() < 1e4


def test_equal_colours_are_the_minimum(config):
    rgb, target, batch = patches(config.smallest_patch)
    loss = config.build(3, STD)
    if any(p.requires_grad for p in loss.parameters()):
        return  # what is best is learned
    same, other = loss(target, target, batch).item(), loss(rgb, target, batch).item()
    assert same == pytest.approx(0, abs=1e-5 + (config.name == "charbonnier") * config.weight)
    assert other > same >= -1e-6


def test_a_batch_is_the_mean_of_its_samples(config):
    """So that processes and micro-batches can share it."""
    rgb, target, batch = patches(config.smallest_patch, samples=3)
    loss = config.build(3, STD)

    def values(samples):
        part = batch._replace(target=target[samples])
        return torch.stack([f(rgb[samples], target[samples], part) for f in (loss, loss.own_loss)])

    with torch.no_grad():
        each = torch.stack([values(slice(i, i + 1)) for i in range(3)])
        torch.testing.assert_close(values(slice(0, 3)), each.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_what_a_loss_learns_and_what_the_model_learns_are_apart(config):
    rgb, target, batch = patches(config.smallest_patch)
    loss = config.build(3, STD)
    rgb.requires_grad_()
    loss(rgb, target, batch).backward()
    assert all(p.grad is None for p in loss.parameters())
    losses = LossTerms([config], std=STD)
    values = losses(rgb, target, batch)
    rgb.grad = None
    if len(values) > 1:
        values[1].backward()
        assert not rgb.grad.any()
        assert all(p.grad is not None for p in losses.parameters())


# Values


def image_of(points, batch):
    """(B, H, W, C) in float64."""
    return points.double().numpy().reshape(len(points), batch.patch, batch.patch, -1)


def value(name, rgb, target, batch, **values):
    loss = LOSSES[name].model_validate({"name": name, **values}).build(rgb.shape[-1], STD)
    return loss(rgb, target, batch).item()


def test_pointwise_losses():
    rgb, target, batch = patches(8, channels=4)
    d = (rgb - target).double().numpy()
    assert value("l1", rgb, target, batch) == pytest.approx(np.abs(d).mean() * 2, rel=1e-6)
    assert value("mse", rgb, target, batch) == pytest.approx((d**2).mean(), rel=1e-6)
    smooth = np.hypot(d, 0.25).mean()
    assert value("charbonnier", rgb, target, batch, eps=0.25) == pytest.approx(smooth, rel=1e-6)


def test_gradient_is_that_of_differences():
    rgb, target, batch = patches(9)
    a, b = image_of(rgb, batch), image_of(target, batch)
    expected = sum(np.abs(np.diff(a, axis=i) - np.diff(b, axis=i)).mean() for i in (1, 2))
    assert value("gradient", rgb, target, batch) == pytest.approx(expected, rel=1e-6)


def test_fft_is_that_of_the_definition():
    """The transform as a product of matrices in float64."""
    rgb, target, batch = patches(11)
    n = np.arange(11)
    waves = np.exp(-2j * np.pi * np.outer(n, n) / 11) / 11**0.5
    X, Y = (np.einsum("ij,bjkc,kl->bilc", waves, image_of(p, batch), waves) for p in (rgb, target))
    amplitude = np.abs(np.abs(X) - np.abs(Y)).mean()
    phase = np.abs(np.exp(1j * np.angle(X)) - np.exp(1j * np.angle(Y))).mean()
    found = value("fft", rgb, target, batch, phase=0)
    assert found == pytest.approx(amplitude, rel=1e-5)
    found = value("fft", rgb, target, batch, phase=0.5)
    assert found == pytest.approx(amplitude + phase / 2, rel=1e-3)  # but for NOISE


def test_fft_sees_a_shift_in_the_phase_only():
    rgb, _, batch = patches(8)
    shifted = rgb.unflatten(1, (8, 8)).roll(1, dims=2).flatten(1, 2)
    assert value("fft", rgb, shifted, batch, phase=0) < 1e-6
    assert value("fft", rgb, shifted, batch) > 0.1


def related(side, seed=0):
    """Smooth patches and noisy copies."""
    rng = np.random.default_rng(seed)
    smooth = rng.random((2, side, side, 3))
    for axis in (1, 2):
        smooth = correlate1d(smooth, np.ones(5) / 5, axis=axis, mode="wrap")
    noisy = np.clip(smooth + rng.normal(0, 0.05, smooth.shape), 0, 1)
    tensors = [torch.tensor(each, dtype=torch.float32).flatten(1, 2) for each in (noisy, smooth)]
    return *tensors, batch_of(tensors[1], side)


def test_one_scale_is_ssim_of_scikit_image():
    rgb, target, batch = related(24)
    scores = []
    for a, b in zip(image_of(rgb, batch), image_of(target, batch), strict=True):
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        _, full = structural_similarity(a, b, channel_axis=-1, data_range=1, full=True, **options)
        scores.append(full[5:-5, 5:-5].mean())
    found = value("ms-ssim", rgb, target, batch, scales=1)
    assert found == pytest.approx(1 - np.mean(scores), abs=1e-5)


@pytest.mark.parametrize("scales", [2, 3, 5])
def test_ms_ssim_is_that_of_the_definition(scales):
    rgb, target, batch = related(MsSsimConfig(scales=scales).smallest_patch)
    kernel = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()

    def mean(x):
        return correlate1d(correlate1d(x, kernel, axis=0), kernel, axis=1)[5:-5, 5:-5]

    def similarity(x, y):
        total = 1.0
        for i in range(scales):
            mx, my = mean(x), mean(y)
            contrast = (2 * (mean(x * y) - mx * my) + 9e-4) / (
                mean(x * x) - mx**2 + mean(y * y) - my**2 + 9e-4
            )
            luminance = (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
            part = (contrast * luminance if i == scales - 1 else contrast).mean()
            total *= part ** (EXPONENTS[i] / sum(EXPONENTS[:scales]))
            side = len(x) // 2 * 2
            x, y = (
                z[:side, :side].reshape(side // 2, 2, side // 2, 2).mean(axis=(1, 3))
                for z in (x, y)
            )
        return total

    a, b = image_of(rgb, batch), image_of(target, batch)
    scores = [similarity(a[i, ..., c], b[i, ..., c]) for i in range(2) for c in range(3)]
    found = value("ms-ssim", rgb, target, batch, scales=scales)
    assert found == pytest.approx(1 - np.mean(scores), abs=1e-5)


def test_ms_ssim_of_opposed_patches_has_a_gradient():
    _, target, batch = related(22)
    rgb = (1 - target).requires_grad_()
    loss = MsSsimConfig(scales=2).build(3, STD)
    loss(rgb, target, batch).backward()
    assert rgb.grad.isfinite().all()


# Pretrained networks


def test_the_names_of_vgg():
    names = conv_names(feature_layers("vgg19"))
    assert (names[0], names[2], names[5], names[34]) == ("conv1_1", "conv1_2", "conv2_1", "conv5_4")
    assert len(names) == 16


def test_vgg_is_torchvisions_network(tmp_path):
    config = small_loss("vgg", tmp_path, layers=["conv2_1"])
    with torch.device("meta"):  # random weights would take seconds
        network = torchvision.models.vgg19(init_weights=False).features[:6]
    saved = torch.load(config.weights).items()
    network.load_state_dict({k.removeprefix("features."): v for k, v in saved}, assign=True)
    rgb, target, batch = patches(8)
    means, deviations = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    images = [p.mT.unflatten(2, (8, 8)) for p in (rgb, target)]
    normal = [torchvision.transforms.functional.normalize(i, means, deviations) for i in images]
    with torch.no_grad():
        expected = (network(normal[0]) - network(normal[1])).abs().mean().item()
    assert config.build(3, STD)(rgb, target, batch).item() == pytest.approx(expected, rel=1e-5)


def test_lpips_is_that_of_its_authors(tmp_path):
    package = pytest.importorskip("lpips", reason='pip install "liif[metrics]"')
    theirs = package.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False).eval()
    torch.save(theirs.state_dict(), tmp_path / "l.pth")
    ours = LpipsConfig(net="alex", weights=str(tmp_path / "l.pth")).build(3, STD)
    rgb, target, batch = patches(40)
    images = [p.mT.unflatten(2, (40, 40)) * 2 - 1 for p in (rgb, target)]
    with torch.no_grad():
        assert ours(rgb, target, batch).item() == pytest.approx(
            theirs(*images).mean().item(), rel=1e-5
        )


def test_lpips_is_that_of_the_paper(tmp_path):
    """Equation 1, layer by layer, with torchvision's network."""
    config = small_loss("lpips", tmp_path)
    saved = torch.load(config.weights)
    with torch.device("meta"):
        network = torchvision.models.alexnet().features
    layers = {k.split(".", 2)[2]: v for k, v in saved.items() if k[:3] == "net"}
    network.load_state_dict(layers, assign=True)
    rgb, target, batch = patches(31)
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]]).view(2, 3, 1, 1)
    x, y = (((p.mT.unflatten(2, (31, 31)) * 2 - 1) - shift) / scale for p in (rgb, target))
    expected, part = 0.0, 0
    with torch.no_grad():
        for layer in network[:-1]:
            x, y = layer(x), layer(y)
            if isinstance(layer, torch.nn.ReLU):
                d = torch.nn.functional.normalize(x) - torch.nn.functional.normalize(y)
                w = saved[f"lin{part}.model.1.weight"].view(1, -1, 1, 1)
                expected, part = expected + (w * d**2).sum(dim=1).mean().item(), part + 1
    assert part == 5
    assert config.build(3, STD)(rgb, target, batch).item() == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache, and a network that does not answer."""

    def refuse(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    torch.hub.set_dir(tmp_path / "hub")
    yield tmp_path / "hub" / "checkpoints"
    torch.hub._hub_dir = None


def test_missing_weights_are_one_line(offline):
    with pytest.raises(UserError, match=r"^loss: vgg: no good weights of vgg19 in .*; put .*") as e:
        VggConfig().build(3, STD)
    assert "\n" not in str(e.value)


def test_weights_of_torchvisions_cache(offline, tmp_path):
    config = small_loss("vgg", tmp_path)
    offline.mkdir(parents=True)
    (tmp_path / "vgg19.pth").rename(offline / "vgg19-dcbb9e9d.pth")
    cached = config.model_copy(update={"weights": None}).build(3, STD)
    rgb, target, batch = patches(8)
    assert cached(rgb, target, batch) > 0


def test_lpips_without_its_package_is_one_line(offline, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'^loss: lpips: needs .*"liif\[metrics\]".*lpips\.LPIPS$'):
        LpipsConfig().build(3, STD)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "damaged, or no weights"),
        (lambda path: torch.save([1, 2], path), "holds no state dict"),
        (lambda path: torch.save({"a": torch.zeros(2)}, path), "lacks features.0.weight, …"),
        (lambda path: torch.save(torch.nn.Linear(1, 1), path), "damaged, or no weights"),
    ],
)
def test_bad_weights_are_one_line(tmp_path, name, damage, said):
    config = small_loss(name, tmp_path)
    damage(next(tmp_path.iterdir()))
    with pytest.raises(UserError) as caught:
        config.build(3, STD)
    text = str(caught.value)
    assert (
        text.startswith(f"loss: {name}: {config.weights}: ") and said in text and "\n" not in text
    )


@pytest.mark.parametrize("name", FILES)
def test_networks_of_rgb_refuse_other_channels(tmp_path, name):
    with pytest.raises(UserError, match="compares RGB only, and the model has 4 channels"):
        small_loss(name, tmp_path).build(4, STD)
