//! `tagwave bench`.

use clap::{Args, Subcommand};

use super::CliError;

mod compiled;
mod kernels;
mod model;
mod pipeline;
mod roofline;

/// Arguments of `tagwave bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Every kernel configuration at the shapes of the models: checked against the reference implementation, then timed
    Kernels(kernels::KernelBenchArgs),
    /// Registers, memory and instructions of the compiled kernels, as the driver states them; nothing is run
    Compiled(compiled::CompiledArgs),
    /// Clips per second of whole models by batch size and precision: from 12 kHz samples to scores, with synthetic weights
    Model(model::ModelBenchArgs),
    /// Tracks per second from files to scores by device, and the upper bound set by the stages
    Pipeline(pipeline::PipelineBenchArgs),
}

pub(super) fn bench(args: &BenchArgs) -> Result<u8, CliError> {
    match &args.command {
        BenchCommand::Kernels(args) => kernels::bench(args),
        BenchCommand::Compiled(args) => compiled::bench(args),
        BenchCommand::Model(args) => model::bench(args),
        BenchCommand::Pipeline(args) => pipeline::bench(args),
    }
}
