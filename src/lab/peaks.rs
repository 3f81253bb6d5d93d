//! Peak arithmetic and memory throughput of a device, measured by two small kernels.

use std::time::Duration;

use crate::error::Error;
use crate::gpu::{Context, Probe};

/// Measured peaks of a device.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// Floating-point operations per second in registers, in units of 10^9.
    pub gflops: f64,
    /// Bytes read and written per second by a copy, in units of 10^9.
    pub gbytes: f64,
}

/// Independent chains of multiply-adds; the result is stored so that nothing is optimised away.
const ARITHMETIC: &str = "
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let w = x[id.x % 256u];
    var a = w; var b = w.yzwx; var c = w.zwxy; var d = w.wxyz;
    var e = -w; var f = -w.yzwx; var g = -w.zwxy; var h = -w.wxyz;
    for (var i = 0u; i < 256u; i++) {
        a = a * w + w; b = b * w + w; c = c * w + w; d = d * w + w;
        e = e * w + w; f = f * w + w; g = g * w + w; h = h * w + w;
    }
    y[id.x] = a + b + c + d + e + f + g + h;
}
";
/// Floating-point operations per thread: eight vectors of four lanes, multiply and add, 256 times.
const ARITHMETIC_FLOPS: u64 = 8 * 4 * 2 * 256;

const COPY: &str = "
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    y[id.x] = x[id.x] * 2.0;
}
";

/// Measures both peaks.
///
/// # Errors
/// Those of the device.
pub fn peaks(gpu: &Context) -> Result<Peaks, Error> {
    let limits = &gpu.summary().limits;
    let threads = if limits.software { 8 } else { 256 };
    let (groups, copied) = if limits.software { (2048, 16 << 20) } else { (16_384, 128 << 20) };
    let best = |probe: &Probe| -> Result<f64, Error> {
        let times = probe.time(10)?;
        Ok(times.into_iter().min().unwrap_or(Duration::MAX).as_secs_f64().max(1e-9))
    };
    let arithmetic = Probe::new(gpu, &header(threads, ARITHMETIC), u64::from(groups * threads) * 16, groups)?;
    let flops = u64::from(groups * threads) * ARITHMETIC_FLOPS;
    let groups = (copied / 16 / u64::from(threads)).min(u64::from(limits.max_workgroups_per_axis)) as u32;
    let bytes = u64::from(groups * threads) * 16;
    let copy = Probe::new(gpu, &header(threads, COPY), bytes, groups)?;
    Ok(Peaks {
        gflops: flops as f64 / best(&arithmetic)? / 1e9,
        gbytes: 2.0 * bytes as f64 / best(&copy)? / 1e9,
    })
}

fn header(threads: u32, source: &str) -> String {
    format!("const WG = {threads}u;{source}")
}
