"""A Triton kernel of LIIF's decoder for a grid of pixels; `fused.py` calls it.

A program decodes a block of rows: consecutive pixels of the grid, each at all of its corners. It
gathers their codes (the first layer's product), adds the products of the offsets, applies all other
layers and sums the corners by area, without writing hidden values to memory. Layers of 256 columns
are computed in halves: with three stages, while one half of a layer's weights is multiplied, the
next ones are loaded from the L2 cache. All sums are float32.
"""
# pyright: basic
# ruff: noqa: ANN001, ANN202

import triton
import triton.language as tl


@triton.jit
def _tile(matrix, row, col, WIDTH: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """Load the part (N, K) at (row, col) of a matrix with rows of WIDTH, transposed to (K, N)."""
    rows, cols = row + tl.arange(0, N), col + tl.arange(0, K)
    return tl.trans(tl.load(matrix + rows[:, None] * WIDTH + cols[None, :]))


@triton.jit
def _relu(x, TF32: tl.constexpr):
    """Apply ReLU to float32 values; where products are in TF32, also round to its nearest values,
    as fused.nearest_tf32 does."""
    x = tl.maximum(x, 0)
    if TF32 == "tf32":
        x = ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return x


@triton.jit
def _first(
    codes, code, offset_y, offset_x, by_y, by_x, bias, start,
    STEP: tl.constexpr, K: tl.constexpr, HALF: tl.constexpr, TF32: tl.constexpr,
):  # fmt: skip
    """Return columns start … start + HALF - 1 of the first layer, after ReLU."""
    col = start + tl.arange(0, HALF)
    real = col < K
    along_y = tl.load(by_y + col * STEP, mask=real, other=0).to(tl.float32)
    along_x = tl.load(by_x + col * STEP, mask=real, other=0).to(tl.float32)
    constant = tl.load(bias + col, mask=real, other=0).to(tl.float32)
    share = tl.load(codes + code[:, None] * K + col[None, :], mask=real[None, :], other=0)
    hidden = share.to(tl.float32) + constant[None, :]
    hidden += offset_y[:, None] * along_y[None, :] + offset_x[:, None] * along_x[None, :]
    return _relu(hidden, TF32).to(codes.dtype.element_ty)


@triton.jit
def _last(rows, weight, start, WIDTH: tl.constexpr, HALF: tl.constexpr, TF32: tl.constexpr):
    """Multiply rows by columns start … start + HALF - 1 of the last layer's weights (3, WIDTH),
    padded to the 16 channels that a product needs."""
    channel, col = tl.arange(0, 16), start + tl.arange(0, HALF)
    real = (channel < 3)[:, None] & (col < WIDTH)[None, :]
    tile = tl.load(weight + channel[:, None] * WIDTH + col[None, :], mask=real, other=0)
    return tl.dot(rows, tl.trans(tile), input_precision=TF32)


@triton.jit(
    do_not_specialize=["R", "W", "pixels", "h", "w", "top", "left", "image_step", "row_step"]
)
def decode(
    rgb, codes, row, col, offset_y, offset_x, area, by_y, by_x, bias,
    hidden_weight, hidden_bias, last_weight, last_bias,
    R, W, pixels, h, w, top, left, image_step, row_step,
    STEP: tl.constexpr, K: tl.constexpr, P: tl.constexpr, LAYERS: tl.constexpr,
    LAST: tl.constexpr, SIDES: tl.constexpr, ROWS: tl.constexpr, STAGES: tl.constexpr,
    TF32: tl.constexpr,
) -> None:  # fmt: skip
    """Write rgb, float32 (B, R, W, 3), of `pixels` = B·R·W pixels.

    codes (B, h, w, K), with strides `image_step` and `row_step` in codes, is a window at
    (top, left). row and offset_y (SIDES, R), col and offset_x (SIDES, W) and area
    (SIDES, R, SIDES, W) are `Corners`. by_y and by_x, K values with stride STEP, and bias (K,)
    are the first layer's other weights; hidden_weight (LAYERS, P, P) and hidden_bias (LAYERS, P),
    padded with zeros, are the hidden layers; last_weight (3, LAST) and last_bias (3,) are the last
    layer. A program decodes ROWS rows. TF32 is how float32 is multiplied: "tf32x3", or "tf32",
    for which these weights must be rounded to it.
    """
    HALF: tl.constexpr = P if P < 256 else P // 2
    CORNERS: tl.constexpr = SIDES * SIDES
    PIXELS: tl.constexpr = ROWS // CORNERS
    first = tl.program_id(0) * PIXELS
    number = tl.arange(0, ROWS)
    corner = number % CORNERS
    pixel = tl.minimum(first + number // CORNERS, pixels - 1)
    c, line = pixel % W, pixel // W
    at_y = corner // SIDES * R + line % R
    at_x = corner % SIDES * W + c
    y = tl.minimum(tl.maximum(tl.load(row + at_y) - top, 0), h - 1)
    x = tl.minimum(tl.maximum(tl.load(col + at_x) - left, 0), w - 1)
    code = (line // R).to(tl.int64) * image_step + y * row_step + x
    dy, dx = tl.load(offset_y + at_y), tl.load(offset_x + at_x)
    weight = tl.load(area + (at_y * SIDES + corner % SIDES) * W + c)

    h0 = _first(codes, code, dy, dx, by_y, by_x, bias, 0, STEP, K, HALF, TF32)
    h1 = h0
    if HALF < P:
        h1 = _first(codes, code, dy, dx, by_y, by_x, bias, HALF, STEP, K, HALF, TF32)
    new = h0
    for i in tl.range(LAYERS * (P // HALF), num_stages=STAGES):  # pyright: ignore
        # Step i computes columns i·HALF … of the concatenated outputs of all layers.
        start = tl.load(hidden_bias + i * HALF + tl.arange(0, HALF)).to(tl.float32)
        out = tl.broadcast_to(start[None, :], (ROWS, HALF))
        tile = _tile(hidden_weight, i * HALF, 0, P, HALF, HALF)
        out = tl.dot(h0, tile, acc=out, input_precision=TF32)
        if HALF < P:
            tile = _tile(hidden_weight, i * HALF, HALF, P, HALF, HALF)
            out = tl.dot(h1, tile, acc=out, input_precision=TF32)
            out = _relu(out, TF32).to(h0.dtype)
            is_second = i % 2 == 1  # the layer is complete
            h0, h1 = tl.where(is_second, new, h0), tl.where(is_second, out, h1)
            new = out
        else:
            h0 = _relu(out, TF32).to(h0.dtype)
    parts = _last(h0, last_weight, 0, LAST, HALF, TF32)
    if HALF < P:
        parts += _last(h1, last_weight, HALF, LAST, HALF, TF32)

    channel = tl.arange(0, 16)
    constant = tl.load(last_bias + channel, mask=channel < 3, other=0).to(tl.float32)
    parts = (parts + constant[None, :]) * weight[:, None]
    total = tl.sum(tl.reshape(parts, (PIXELS, CORNERS, 16)), axis=1)
    done = first + tl.arange(0, PIXELS)
    wanted = (done < pixels)[:, None] & (channel < 3)[None, :]
    tl.store(rgb + done[:, None] * 3 + channel[None, :], total, mask=wanted)
