//! `tagwave models`.

use std::io::{self, Write};

use clap::Args;

use super::{CliError, WeightsArgs, write_failed};
use tagwave::error::Error;
use tagwave::models;
use tagwave::weights::{TensorRole, parameter_count};

/// Arguments of `tagwave models`.
#[derive(Debug, Args)]
pub(super) struct ModelsArgs {
    #[command(flatten)]
    weights: WeightsArgs,
}

/// Lists the models with their input, outputs and weights.
pub(super) fn models(args: &ModelsArgs) -> Result<u8, CliError> {
    let mut text = Vec::new();
    for model in models::all() {
        let manifest = model.manifest().map_err(Error::from)?;
        let clip = model.architecture().clip();
        let parameters = parameter_count(&model.architecture().tensors(), TensorRole::Trainable);
        let seconds = clip.samples as f64 / f64::from(clip.sample_rate);
        let locator = args.weights.locator();
        let weights = match locator.locate(&manifest) {
            _ if model.is_embedded() && locator.explicit.is_none() => "built in".into(),
            Ok(path) => path.display().to_string(),
            Err(_) => format!("not found: run `tagwave weights fetch {}`", model.name()),
        };
        let auc =
            model.stated_auc().map_or("none stated".into(), |(auc, source)| format!("{auc} ({source})"));
        let lines = [
            format!("{}  {}", model.name(), model.title()),
            format!("   parameters  {parameters}"),
            format!("   features    {}", model.architecture().embedding_len()),
            format!("   input       {seconds:.2} s at {} Hz", clip.sample_rate),
            format!("   AUC         {auc}"),
            format!("   licence     {}", manifest.licence),
            format!("   weights     {weights}"),
        ];
        lines.iter().for_each(|line| {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        });
    }
    io::stdout().lock().write_all(&text).map_err(|error| write_failed(&error))?;
    Ok(0)
}
