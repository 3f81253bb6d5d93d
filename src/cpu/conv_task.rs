//! Task of a convolution: products, sums, pooling, bias and activation of one region.

use pulp::{Simd, WithSimd};

use super::conv_prepared::{Conv, Convolution, Region};
use super::product::{MANY_REGISTERS, Product};
use super::scratch::Scratch;
use super::simd::{activate, store};
use super::winograd::{self, OUTPUTS, PRODUCTS};

/// Computes one region with SIMD.
pub(super) struct ConvTask<'a> {
    pub(super) conv: &'a Conv,
    /// Input clip.
    pub(super) x: &'a [f32],
    pub(super) region: Region<'a>,
    pub(super) scratch: &'a mut Scratch,
}

impl WithSimd for ConvTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.conv.algorithm {
            Convolution::Direct if self.conv.input[0] == 1 => self.plane(simd),
            Convolution::Direct => self.direct(simd),
            Convolution::Winograd => self.winograd(simd),
        }
    }
}

/// Returns the bias, or NaN if a sum of the pool window is not finite, because max pooling may hide such a sum.
#[inline(always)]
fn bias_or_nan<S: Simd>(simd: S, bias: S::f32s, sum: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(sum, simd.splat_f32s(0.0), bias)
}

impl ConvTask<'_> {
    /// Number of convolution outputs of the region along each axis.
    fn extent(&self) -> [usize; 2] {
        [self.region.height * self.conv.op.pool[0], self.region.width * self.conv.op.pool[1]]
    }

    /// Direct convolution of one input channel: the nine taps of two vectors of output channels stay in registers, and so
    /// do the sums of a row of a pool window.
    #[inline(always)]
    fn plane<S: Simd>(mut self, simd: S) {
        let [height, width] = self.extent();
        self.fill_strip([height, width]);
        let many = S::REGISTER_COUNT >= MANY_REGISTERS && self.conv.panels.width() >= 2 * S::F32_LANES;
        match (many, self.conv.op.pool[1] % 4) {
            (true, 0) => self.plane_blocks::<S, 2, 4>(simd),
            (true, 2) => self.plane_blocks::<S, 2, 2>(simd),
            (true, _) => self.plane_blocks::<S, 2, 1>(simd),
            (false, 0 | 2) => self.plane_blocks::<S, 1, 2>(simd),
            (false, _) => self.plane_blocks::<S, 1, 1>(simd),
        }
    }

    /// [`ConvTask::plane`] for `VECTORS` vectors of output channels and `COLUMNS` columns of a window at a time.
    #[inline(always)]
    fn plane_blocks<S: Simd, const VECTORS: usize, const COLUMNS: usize>(&mut self, simd: S) {
        let conv = self.conv;
        let [out_channels, ..] = conv.output;
        let [pf, pt] = conv.op.pool;
        let (lanes, panel_width) = (S::F32_LANES, conv.panels.width());
        let strip_width = self.region.width * pt + 2;
        let strip = &*self.scratch.strip;
        for channel in (0..out_channels).step_by(VECTORS * lanes) {
            let panel = conv.panels.part(channel / panel_width, 0, 9).data();
            let mut taps = [[simd.splat_f32s(0.0); VECTORS]; 9];
            for (k, taps) in taps.iter_mut().enumerate() {
                let row = &panel[k * panel_width + channel % panel_width..][..VECTORS * lanes];
                taps.copy_from_slice(S::as_simd_f32s(row).0);
            }
            let mut biases = [simd.splat_f32s(0.0); VECTORS];
            biases.copy_from_slice(S::as_simd_f32s(&conv.bias[channel..][..VECTORS * lanes]).0);
            for (r, out) in self.region.rows.iter_mut().enumerate().take(self.region.height) {
                for (c, out) in out.chunks_exact_mut(out_channels).enumerate() {
                    let mut largest = [simd.splat_f32s(f32::NEG_INFINITY); VECTORS];
                    let mut bias = biases;
                    for i in 0..pf {
                        for j in (0..pt).step_by(COLUMNS) {
                            let corner = &strip[(r * pf + i) * strip_width + c * pt + j..];
                            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; COLUMNS];
                            for tap in 0..3 {
                                let x = &corner[tap * strip_width..][..COLUMNS + 2];
                                for k in 0..3 {
                                    for column in 0..COLUMNS {
                                        let x = simd.splat_f32s(x[column + k]);
                                        for v in 0..VECTORS {
                                            let sum = &mut sums[column][v];
                                            *sum = simd.mul_add_e_f32s(x, taps[3 * tap + k][v], *sum);
                                        }
                                    }
                                }
                            }
                            for sums in sums {
                                for v in 0..VECTORS {
                                    largest[v] = simd.max_f32s(largest[v], sums[v]);
                                    bias[v] = bias_or_nan(simd, bias[v], sums[v]);
                                }
                            }
                        }
                    }
                    for v in 0..VECTORS {
                        let channel = channel + v * lanes;
                        if channel < out_channels {
                            let value = simd.add_f32s(largest[v], bias[v]);
                            store(simd, &mut out[channel..], activate(simd, conv.op.activation, value));
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn direct<S: Simd>(mut self, simd: S) {
        let conv = self.conv;
        let [height, width] = self.extent();
        let channels = conv.strip_channels;
        let strip_width = (width + 2) * channels;
        let panel_width = conv.panels.width();
        self.fill_strip([height, width]);
        self.scratch.sums.at_least(height * width * panel_width);
        for panel in 0..conv.panels.count() {
            for row in 0..height {
                let starts = [0, 1, 2].map(|tap| (row + tap) * strip_width);
                simd.vectorize(Product {
                    x: &self.scratch.strip,
                    starts: &starts,
                    stride: channels,
                    run: 3 * channels,
                    rows: width,
                    panel: conv.panels.part(panel, 0, 9 * channels),
                    y: &mut self.scratch.sums[row * width * panel_width..][..width * panel_width],
                    y_stride: panel_width,
                });
            }
            self.pool(simd, panel, width);
        }
    }

    #[inline(always)]
    fn winograd<S: Simd>(mut self, simd: S) {
        let conv = self.conv;
        let [height, width] = self.extent().map(|extent| extent.next_multiple_of(OUTPUTS));
        let (channels, padded) = (conv.input[0], conv.strip_channels);
        let [down, across] = [height / OUTPUTS, width / OUTPUTS];
        let count = down * across;
        self.fill_strip([height, width]);
        // One more cache line per plane, so that planes map to different cache sets.
        let plane = count * padded + 16;
        let strip = &self.scratch.strip;
        let tiles = self.scratch.tiles.at_least(PRODUCTS * plane);
        let strides = [(width + 2) * padded, padded];
        for tile in 0..count {
            let corner = (tile / across * strides[0] + tile % across * padded) * OUTPUTS;
            for c in (0..padded).step_by(S::F32_LANES) {
                winograd::input(simd, &strip[corner + c..], strides, &mut tiles[tile * padded + c..], plane);
            }
        }
        let panel_width = conv.panels.width();
        let row = PRODUCTS * panel_width;
        self.scratch.products.at_least(count * row);
        for panel in 0..conv.panels.count() {
            for k in 0..PRODUCTS {
                simd.vectorize(Product {
                    x: &self.scratch.tiles[k * plane..],
                    starts: &[0],
                    stride: padded,
                    run: channels,
                    rows: count,
                    panel: conv.panels.part(panel, k * channels, channels),
                    y: &mut self.scratch.products[k * panel_width..],
                    y_stride: row,
                });
            }
            match conv.op.pool {
                [1, 1] => self.outputs::<S, 1, 1>(simd, panel, [down, across]),
                [2, 2] => self.outputs::<S, 2, 2>(simd, panel, [down, across]),
                [2, 4] => self.outputs::<S, 2, 4>(simd, panel, [down, across]),
                [4, 4] => self.outputs::<S, 4, 4>(simd, panel, [down, across]),
                _ => self.sums(simd, panel, [down, across]),
            }
        }
    }

    /// Copies the input of the region with zero padding: `height + 2` rows of `width + 2` columns.
    #[inline(always)]
    fn fill_strip(&mut self, [height, width]: [usize; 2]) {
        let [channels, f, t] = self.conv.input;
        let padded = self.conv.strip_channels;
        let [pf, pt] = self.conv.op.pool;
        let (first_row, first_column) = (self.region.row * pf, self.region.column * pt);
        let strip = self.scratch.strip.at_least((height + 2) * (width + 2) * padded);
        // Column 0 of the strip is column `first_column - 1` of the input.
        let left = usize::from(first_column == 0);
        let inside = (width + 2 - left).min((t + 1).saturating_sub(first_column + left));
        for (index, line) in strip.chunks_exact_mut((width + 2) * padded).enumerate() {
            let Some(row) = (first_row + index).checked_sub(1).filter(|&row| row < f) else {
                line.fill(0.0);
                continue;
            };
            line[..left * padded].fill(0.0);
            line[(left + inside) * padded..].fill(0.0);
            let source = &self.x[(row * t + first_column + left - 1) * channels..][..inside * channels];
            let line = &mut line[left * padded..(left + inside) * padded];
            if channels == padded {
                line.copy_from_slice(source);
                continue;
            }
            for (to, from) in line.chunks_exact_mut(padded).zip(source.chunks_exact(channels)) {
                to[..channels].copy_from_slice(from);
                to[channels..].fill(0.0);
            }
        }
    }

    /// Inverse Winograd transform of a panel with pooling in registers, for pool windows that divide a tile.
    #[inline(always)]
    fn outputs<S: Simd, const PF: usize, const PT: usize>(
        &mut self,
        simd: S,
        panel: usize,
        [down, across]: [usize; 2],
    ) {
        let panel_width = self.conv.panels.width();
        let [out_channels, ..] = self.conv.output;
        let row = PRODUCTS * panel_width;
        let activation = self.conv.op.activation;
        for tile in 0..down * across {
            let products = &self.scratch.products[tile * row..][..row];
            let (first_row, first_column) = (tile / across * (OUTPUTS / PF), tile % across * (OUTPUTS / PT));
            for v in (0..panel_width).step_by(S::F32_LANES) {
                let channel = panel * panel_width + v;
                if channel >= out_channels {
                    break;
                }
                let y = winograd::output(simd, &products[v..], panel_width);
                let biases = S::as_simd_f32s(&self.conv.bias[channel..]).0[0];
                for i in 0..OUTPUTS / PF {
                    for j in 0..OUTPUTS / PT {
                        let (mut largest, mut bias) = (y[i * PF][j * PT], biases);
                        if PF * PT > 1 {
                            bias = bias_or_nan(simd, bias, largest);
                        }
                        for k in 1..PF * PT {
                            let sum = y[i * PF + k / PT][j * PT + k % PT];
                            largest = simd.max_f32s(largest, sum);
                            bias = bias_or_nan(simd, bias, sum);
                        }
                        let (r, c) = (first_row + i, first_column + j);
                        if r < self.region.height && c < self.region.width {
                            let value = activate(simd, activation, simd.add_f32s(largest, bias));
                            store(
                                simd,
                                &mut self.region.rows[r][c * out_channels + channel..(c + 1) * out_channels],
                                value,
                            );
                        }
                    }
                }
            }
        }
    }

    /// Inverse Winograd transform of a panel to rows of sums, then pooling.
    #[inline(always)]
    fn sums<S: Simd>(&mut self, simd: S, panel: usize, [down, across]: [usize; 2]) {
        let panel_width = self.conv.panels.width();
        let row = PRODUCTS * panel_width;
        let line = across * OUTPUTS * panel_width;
        let sums = self.scratch.sums.at_least(down * OUTPUTS * line);
        for tile in 0..down * across {
            let products = &self.scratch.products[tile * row..][..row];
            let corner = (tile / across * line + tile % across * panel_width) * OUTPUTS;
            for v in (0..panel_width).step_by(S::F32_LANES) {
                let y = winograd::output(simd, &products[v..], panel_width);
                for (i, y) in y.iter().enumerate() {
                    for (j, &y) in y.iter().enumerate() {
                        store(simd, &mut sums[corner + i * line + j * panel_width + v..], y);
                    }
                }
            }
        }
        self.pool(simd, panel, across * OUTPUTS);
    }

    /// Pools rows of `columns` sums to the region.
    #[inline(always)]
    fn pool<S: Simd>(&mut self, simd: S, panel: usize, columns: usize) {
        let panel_width = self.conv.panels.width();
        let [out_channels, ..] = self.conv.output;
        let [pf, pt] = self.conv.op.pool;
        let line = columns * panel_width;
        let activation = self.conv.op.activation;
        let sums = &*self.scratch.sums;
        for (r, out) in self.region.rows.iter_mut().enumerate().take(self.region.height) {
            for (c, out) in out.chunks_exact_mut(out_channels).enumerate() {
                let corner = &sums[r * pf * line + c * pt * panel_width..];
                for v in (0..panel_width).step_by(S::F32_LANES) {
                    let channel = panel * panel_width + v;
                    if channel >= out_channels {
                        break;
                    }
                    let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
                    let mut bias = S::as_simd_f32s(&self.conv.bias[channel..]).0[0];
                    for i in 0..pf {
                        for j in 0..pt {
                            let sums = &corner[i * line + j * panel_width + v..][..S::F32_LANES];
                            let sums = S::as_simd_f32s(sums).0[0];
                            largest = simd.max_f32s(largest, sums);
                            bias = bias_or_nan(simd, bias, sums);
                        }
                    }
                    let value = activate(simd, activation, simd.add_f32s(largest, bias));
                    store(simd, &mut out[channel..], value);
                }
            }
        }
    }
}
