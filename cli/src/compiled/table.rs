//! Statistics of compiled kernels as a table or as lines of JSON.

use serde_json::Value;

use super::process::CompiledKernel;
use crate::{CliError, print_line};

/// Prints a table, or a line of JSON for each kernel.
pub(crate) fn print(kernels: &[CompiledKernel], is_json: bool) -> Result<(), CliError> {
    if is_json {
        return kernels.iter().try_for_each(|kernel| print_line(&Value::Object(kernel.record()).to_string()));
    }
    if let Some(kernel) = kernels.first() {
        print_line(&format!("device {} ({})", kernel.text("adapter"), kernel.text("driver")))?;
    }
    print_line(
        "layer            kernel                                            registers  spilled  scratch B  shared B  instructions  in loop: fma  other  loads/fma",
    )?;
    for kernel in kernels {
        let found = &kernel.statistics;
        let text = |number: Option<u64>| number.map_or("-".into(), |number: u64| number.to_string());
        let inner = found.inner_loop().counts;
        let loads = inner.shared_loads + inner.memory_loads + inner.scalar_loads;
        let other = inner.float + inner.integer + inner.slow;
        print_line(&format!(
            "{:16} {:48} {:>10} {:>8} {:>10} {:>9} {:>13} {:>13} {:>6} {:>10}",
            kernel.text("layer"),
            kernel.text("kernel"),
            text(found.registers),
            text(found.spilled),
            text(found.scratch_bytes),
            text(found.shared_bytes),
            text(found.instructions),
            inner.fma,
            other,
            if inner.fma == 0 {
                "-".into()
            } else {
                format!("{:.3}", f64::from(loads) / f64::from(inner.fma))
            },
        ))?;
    }
    Ok(())
}
