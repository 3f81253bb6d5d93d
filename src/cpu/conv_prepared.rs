//! Prepared convolution: algorithm, packed weights, and the regions into which its output is split.

use pulp::Arch;

use super::product::Panels;
use super::scratch::Buffer;
use super::winograd::{self, OUTPUTS, PRODUCTS};
use crate::kernels::Conv2d;
use crate::tensor::{HostTensor, Shape};

/// Convolution algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Convolution {
    /// Direct summation: nine products per input and output channel.
    Direct,
    /// Winograd F(4x4, 3x3): a quarter of the products, with about three times the rounding error.
    Winograd,
}

/// Minimum number of input channels for Winograd: below, the transforms cost more than they save.
const WINOGRAD_CHANNELS: usize = 16;
/// Minimum number of tiles for Winograd: below, reading four times the weights costs more than it saves.
const WINOGRAD_TILES: usize = 6;
/// Maximum number of tiles of a task, whose transforms should fit the L2 cache.
const TASK_TILES: usize = 48;
/// Maximum number of sums of a direct task, which should fit the L1 cache.
const TASK_SUMS: usize = 6 << 10;
/// Maximum number of output rows of a region; times the height of the pool window it is a multiple of a tile's height.
const BAND_ROWS: usize = OUTPUTS;

/// Prepared convolution.
#[derive(Debug)]
pub(super) struct Conv {
    pub(super) op: Conv2d,
    pub(super) algorithm: Convolution,
    /// Channels, rows and columns of the input.
    pub(super) input: [usize; 3],
    /// Channels, rows and columns of the output.
    pub(super) output: [usize; 3],
    /// `[9 C, O]` with the taps outermost, or `[36 C, O]` with the products outermost.
    pub(super) panels: Panels,
    pub(super) bias: Buffer,
    /// Output rows and columns of a region.
    pub(super) task: [usize; 2],
    /// Number of input channels in a strip; padded to whole vectors for Winograd.
    pub(super) strip_channels: usize,
}

/// Part of a clip's output that one task computes: a range of columns of up to [`BAND_ROWS`] rows.
pub(super) struct Region<'a> {
    pub(super) rows: [&'a mut [f32]; BAND_ROWS],
    /// First row; then first column, number of rows and of columns.
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl<'a> Region<'a> {
    /// Makes a region of whole rows.
    pub(super) fn band(y: &'a mut [f32], row: usize, width: usize, row_len: usize) -> Region<'a> {
        let height = y.len() / row_len;
        let mut rows = y.chunks_exact_mut(row_len);
        let rows = std::array::from_fn(|_| rows.next().unwrap_or_default());
        Region { rows, row, column: 0, height, width }
    }

    /// Splits after `columns` columns.
    pub(super) fn split(self, columns: usize) -> (Region<'a>, Region<'a>) {
        let (row, column, height) = (self.row, self.column, self.height);
        let mut right: [&mut [f32]; BAND_ROWS] = Default::default();
        let left = std::array::from_fn(|_| -> &mut [f32] { &mut [] });
        let mut left: [&mut [f32]; BAND_ROWS] = left;
        for (index, whole) in self.rows.into_iter().enumerate() {
            let place = whole.len() / self.width * columns;
            (left[index], right[index]) = whole.split_at_mut(place);
        }
        (
            Region { rows: left, row, column, height, width: columns },
            Region { rows: right, row, column: column + columns, height, width: self.width - columns },
        )
    }
}

impl Conv {
    /// Packs the weights of `op` for inputs of shape `x`.
    pub(super) fn new(
        arch: Arch,
        op: &Conv2d,
        x: Shape,
        y: Shape,
        [w, b]: [&HostTensor; 2],
        forced: Option<Convolution>,
    ) -> Conv {
        let [input, output] = [x, y].map(|shape| [1, 2, 3].map(|axis| shape.extent(axis)));
        let ([channels, ..], [out_channels, rows, columns]) = (input, output);
        let [pf, pt] = op.pool;
        let tiles = (rows * pf).div_ceil(OUTPUTS) * (columns * pt).div_ceil(OUTPUTS);
        let pays = channels >= WINOGRAD_CHANNELS && tiles >= WINOGRAD_TILES;
        let algorithm = forced.unwrap_or(if pays { Convolution::Winograd } else { Convolution::Direct });
        let at = |o: usize, c: usize| &w.data()[(o * channels + c) * 9..][..9];
        let panels = match algorithm {
            Convolution::Direct => {
                Panels::new(arch, 9 * channels, out_channels, |row, o| at(o, row % channels)[row / channels])
            }
            Convolution::Winograd => {
                let kernels: Vec<_> = (0..out_channels * channels)
                    .map(|k| winograd::kernel(at(k / channels, k % channels)))
                    .collect();
                Panels::new(arch, PRODUCTS * channels, out_channels, |row, o| {
                    kernels[o * channels + row % channels][row / channels]
                })
            }
        };
        let mut bias = b.data().to_vec();
        bias.resize(panels.padded_columns(), 0.0);
        let (lanes, _) = arch.dispatch(super::simd::Registers);
        let (task, strip_channels) = match algorithm {
            Convolution::Direct => {
                let columns = TASK_SUMS / (panels.width() * pf * pt).max(1);
                ([1, columns.max(1)], channels)
            }
            Convolution::Winograd => {
                let band = OUTPUTS / gcd(OUTPUTS, pf);
                let unit = OUTPUTS / gcd(OUTPUTS, pt);
                let unit_tiles = (band * pf / OUTPUTS) * (unit * pt / OUTPUTS);
                ([band, unit * (TASK_TILES / unit_tiles).max(1)], channels.next_multiple_of(lanes))
            }
        };
        let bias = Buffer::of(&bias);
        Conv { op: op.clone(), algorithm, input, output, panels, bias, task, strip_channels }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
