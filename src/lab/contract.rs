//! Contracts that a user kernel may follow, and templates for one.

use crate::kernels::{Call, Kernel, KernelConfig, Limits, Operation};
use crate::tensor::DType;
use crate::test_cases;

/// A built-in kernel, with the name of its op and its smallest configuration.
struct BuiltIn {
    op: String,
    kernel: &'static Kernel,
    config: KernelConfig,
}

/// All built-in kernels with their smallest configurations: drivers may take minutes to compile the largest ones.
fn built_in() -> Vec<BuiltIn> {
    let mut found: Vec<BuiltIn> = Vec::new();
    let software = Limits { software: true, f16: true, subgroup: Some([8, 8]), ..Limits::default() };
    let limits = Limits { subgroup_ids: true, matrices: vec![8, 16], ..software };
    for (case, element) in
        test_cases::all().iter().flat_map(|case| [DType::F32, DType::F16].map(|element| (case, element)))
    {
        let step = &case.plan.steps()[0];
        let shapes = case.plan.shapes(step);
        let call = Call { element, ..case.plan.call(step, &shapes) };
        for config in step.op.configs(&call, &limits) {
            let Ok(dispatch) = step.op.dispatch(&call, config, &limits) else { continue };
            match found.iter_mut().find(|known| known.kernel.name == dispatch.kernel.name) {
                Some(known) if tile(config) < tile(known.config) => known.config = config,
                Some(_) => {}
                None => {
                    let op = step.op.name().to_string();
                    found.push(BuiltIn { op, kernel: dispatch.kernel, config });
                }
            }
        }
    }
    found
}

/// Size of a configuration: product of its constants.
fn tile(config: KernelConfig) -> u32 {
    config.constants().map(|(_, value)| value).product()
}

/// Names of all built-in kernels.
pub fn kernel_names() -> Vec<&'static str> {
    built_in().iter().map(|known| known.kernel.name).collect()
}

/// Op and kernel of a contract.
pub fn contract(name: &str) -> Option<(String, &'static Kernel)> {
    built_in().into_iter().find(|known| known.kernel.name == name).map(|known| (known.op, known.kernel))
}

/// Template for a user kernel: a built-in kernel, or the portable one of an op, with its contract.
pub fn template(name: &str) -> Option<String> {
    let all = built_in();
    // The portable default of conv2d is the direct kernel.
    let is_portable =
        |known: &&BuiltIn| known.kernel.name == name || known.kernel.name == format!("{name}_direct");
    let found = all.iter().find(is_portable).or_else(|| all.iter().find(|known| known.op == name))?;
    let BuiltIn { op, kernel, config } = found;
    let tiles: Vec<_> = config.constants().map(|(name, value)| format!(" {name}={value}")).collect();
    Some(format!(
        "// my_{op}: a user kernel for {op}. Change anything below `main`.\n\
         //\n\
         // Keep: the bindings under group(0), the fields of Params, the entry point `main`, and the line `contract`:\n\
         // it names the built-in kernel with the same bindings, weight packing and number of workgroups, and the\n\
         // constants that are prepended to this file as `const` lines.\n\
         // Check and time it: tagwave lab my_{op}.wgsl --sweep NAME=1,2,4    Run a model: tagwave tag --kernel\n\
         // {op}=my_{op}.wgsl    Tutorial: docs/kernels.md\n\
         //\n\
         // contract  {}{}\n\
         //\n\
         // The built-in kernel as a starting point:\n\
         //\n{}",
        kernel.name,
        tiles.concat(),
        kernel.source.trim_end(),
    ))
}
