//! `tagwave bench`.

use clap::{Args, Subcommand};

use super::Failed;

mod kernels;
mod model;
mod pipeline;
mod roofline;

/// Arguments of `tagwave bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every kernel and configuration at the models' shapes: checked against the reference implementations, then timed
    Kernels(kernels::KernelBench),
    /// Clips per second of whole models, by batch and precision: from 12 kHz samples to scores, with weights filled with a pattern
    Model(model::ModelBench),
    /// Tracks per second from files to scores, by device, and what the stages would allow
    Pipeline(pipeline::PipelineBench),
}

pub(super) fn bench(args: &BenchArgs) -> Result<u8, Failed> {
    match &args.what {
        What::Kernels(args) => kernels::bench(args),
        What::Model(args) => model::bench(args),
        What::Pipeline(args) => pipeline::bench(args),
    }
}
