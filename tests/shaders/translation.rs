//! Shaders in the languages of the other backends: HLSL for DirectX 12 and MSL for Metal.

use std::collections::BTreeSet;
use std::process::Command;

use naga::back::{hlsl, msl};
use naga::valid::{ModuleInfo, ValidationFlags, Validator};
use tagwave::kernels::{Dispatch, Limits, Operation, Vendor};
use tagwave::lab::layers;
use tagwave::models;
use tagwave::tensor::DType;

use super::{capabilities, dispatches, parse};

/// The shader with its constants, as the backends are given it.
fn resolved(dispatch: &Dispatch) -> (naga::Module, ModuleInfo) {
    let module = parse(dispatch);
    let info = Validator::new(ValidationFlags::all(), capabilities()).validate(&module).unwrap();
    let constants = dispatch.constants.iter().map(|(key, value)| (key.to_string(), *value)).collect();
    let entry = Some((naga::ShaderStage::Compute, "main"));
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants).unwrap();
    (module.into_owned(), info.into_owned())
}

/// HLSL of a shader, as wgpu makes it for unchecked modules.
fn hlsl_of(dispatch: &Dispatch, shader_model: hlsl::ShaderModel) -> Result<String, hlsl::Error> {
    let (module, info) = resolved(dispatch);
    let options = hlsl::Options {
        shader_model,
        fake_missing_bindings: true,
        restrict_indexing: false,
        force_loop_bounding: false,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None)?;
    Ok(text)
}

fn msl_of(dispatch: &Dispatch) -> Result<String, msl::Error> {
    let (module, info) = resolved(dispatch);
    let options = msl::Options {
        lang_version: (3, 0),
        fake_missing_bindings: true,
        force_loop_bounding: false,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    msl::write_string(&module, &info, &options, &Default::default()).map(|(text, _)| text)
}

/// True if a shader of model 5 can express it: FXC, which DirectX 12 falls back to, has neither f16 nor subgroups.
fn is_shader_model_5(dispatch: &Dispatch) -> bool {
    let source = dispatch.source();
    dispatch.element == DType::F32 && !source.contains("subgroup") && !source.contains("coop_mat")
}

/// Defaults of the layers of all models on hardware of unknown make, which has no more than WebGPU requires.
fn defaults() -> Vec<Dispatch> {
    let limits = Limits::default();
    assert!(!limits.software && limits.vendor == Vendor::Other);
    let mut found = Vec::new();
    for layer in layers(&models::all(), DType::F32).unwrap() {
        let step = &layer.plan.steps()[0];
        let shapes = layer.plan.shapes(step);
        let call = layer.plan.call(step, &shapes);
        let config = step.op.configs(&call, &limits)[0];
        found.push(step.op.dispatch(&call, config, &limits).unwrap());
    }
    let mut seen = BTreeSet::new();
    found.retain(|dispatch| seen.insert((dispatch.source(), format!("{:?}", dispatch.constants))));
    found
}

#[test]
fn every_dispatch_becomes_hlsl_and_msl() {
    for dispatch in dispatches() {
        let name = dispatch.kernel.name;
        // Naga's HLSL has no cooperative matrices; such devices have no DirectX 12 backend for them.
        if !dispatch.source().contains("coop_mat") {
            let model =
                if is_shader_model_5(&dispatch) { hlsl::ShaderModel::V5_1 } else { hlsl::ShaderModel::V6_2 };
            hlsl_of(&dispatch, model).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        msl_of(&dispatch).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Kernels whose local array `places` has the counter of a loop as its index. The loop has a constant number of turns, but
/// one that the host does not evaluate; the compilers of AMD and NVIDIA in Mesa unroll it.
const COUNTED: [&str; 2] = ["conv2d_cooperative", "conv2d_tiled"];

/// Local arrays become registers only where every index is known: FXC and Metal keep the others in memory.
#[test]
fn local_arrays_have_constant_indices() {
    let mut found = BTreeSet::new();
    for dispatch in dispatches() {
        // Only software drivers run it, which compile it for the CPU.
        if dispatch.kernel.name == "conv2d_subgroup" {
            continue;
        }
        let (module, _) = resolved(&dispatch);
        let functions = module.functions.iter().map(|(_, function)| function);
        for function in functions.chain(module.entry_points.iter().map(|entry| &entry.function)) {
            for (_, expression) in function.expressions.iter() {
                let naga::Expression::Access { base, index } = *expression else { continue };
                let is_constant = matches!(function.expressions[index], naga::Expression::Literal(_));
                if is_local_array(&module, function, base) && !is_constant {
                    found.insert(dispatch.kernel.name);
                }
            }
        }
    }
    for kernel in COUNTED {
        assert!(found.remove(kernel), "{kernel} is no exception any more");
    }
    assert!(
        found.is_empty(),
        "local arrays with run-time indices: mark the loops `// unrolled` in {found:?}"
    );
}

/// True if a pointer or value is an array of a function, or a part of one.
fn is_local_array(
    module: &naga::Module,
    function: &naga::Function,
    mut base: naga::Handle<naga::Expression>,
) -> bool {
    loop {
        match function.expressions[base] {
            naga::Expression::LocalVariable(variable) => {
                let ty = &module.types[function.local_variables[variable].ty].inner;
                return matches!(ty, naga::TypeInner::Array { .. });
            }
            naga::Expression::Access { base: outer, .. }
            | naga::Expression::AccessIndex { base: outer, .. } => {
                base = outer;
            }
            _ => return false,
        }
    }
}

/// Compiles the HLSL of the default kernels with the compiler that `TAGWAVE_HLSL_COMPILER` names, a command `COMPILER FILE
/// ENTRY` for shader model 5.1.
#[test]
fn defaults_compile_with_an_hlsl_compiler() {
    let Some(compiler) = std::env::var_os("TAGWAVE_HLSL_COMPILER") else {
        println!("not run: TAGWAVE_HLSL_COMPILER names no compiler");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let kernels = defaults();
    assert!(kernels.len() > 20, "{}", kernels.len());
    for (index, dispatch) in kernels.iter().enumerate() {
        let text = hlsl_of(dispatch, hlsl::ShaderModel::V5_1).unwrap();
        let file = folder.path().join(format!("{index}.hlsl"));
        std::fs::write(&file, text).unwrap();
        let output = Command::new(&compiler).arg(&file).arg("main").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {}: {errors}", dispatch.kernel.name, dispatch.header);
    }
    println!("{} kernels compiled", kernels.len());
}
