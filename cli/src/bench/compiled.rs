//! `tagwave bench compiled`.

use clap::Args;

use crate::compiled::{self, Compiler};
use crate::{CliError, CompatArg, DeviceArgs, PrecisionArg};
use tagwave::lab::{configs, forced, layers, probe_layer};
use tagwave::models;

use super::kernels::BenchFormat;

/// Arguments of `tagwave bench compiled`.
#[derive(Debug, Args)]
pub(super) struct CompiledArgs {
    /// Layers by parts of their names, such as conv2 or crnn.gru [default: all, and the probe]
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    layer: Vec<String>,

    /// Kernels by parts of their names [default: all]
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    kernel: Vec<String>,

    /// Batch sizes in clips, for the number of workgroups
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8, 64], value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,

    /// Storage types of activations and weights on the device
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [PrecisionArg::F32])]
    precision: Vec<PrecisionArg>,

    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: BenchFormat,

    /// Command that starts the compiling process, for a driver that is not installed
    #[arg(long, value_name = "COMMAND", default_value = "")]
    under: String,

    /// Compiles, as the second process of this command
    #[arg(long, hide = true)]
    compile_only: bool,

    #[command(flatten)]
    device: DeviceArgs,
}

/// Prints the statistics of compiled kernels.
pub(super) fn bench(args: &CompiledArgs) -> Result<u8, CliError> {
    if args.compile_only {
        compile(args)?;
    } else {
        compiled::print(&compiled::run(&args.under)?, args.format == BenchFormat::Jsonl)?;
    }
    Ok(0)
}

/// Compiles all requested kernels.
fn compile(args: &CompiledArgs) -> Result<(), CliError> {
    let is_requested = |parts: &[String], name: &str| {
        parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
    };
    for asked in &args.precision {
        let gpu = compiled::device(&args.device.device)?;
        let precision = asked.resolve(Some(&gpu), CompatArg::Corrected);
        let mut compiler = Compiler::new(gpu, precision, args.batch.clone());
        let mut all = layers(&models::all(), precision)?;
        all.push(probe_layer(precision));
        for layer in all.iter().filter(|layer| is_requested(&args.layer, &layer.name)) {
            let configs = configs(&compiler.gpu, &layer.plan);
            for (place, config) in configs.into_iter().enumerate() {
                if is_requested(&args.kernel, config.kernel()) {
                    compiler.compile(layer, None, &forced(config, 1), place == 0)?;
                }
            }
        }
    }
    Ok(())
}
