//! Every shader without a device: contract against reflection, `Params` against the host, validation, and
//! SPIR-V writing, for every dispatch of test cases and models.
#![cfg(feature = "gpu")]

mod translation;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use tagwave::kernels::{Call, Dispatch, Limits, Operation, Role, Value, is_within_bounds};
use tagwave::plan::Plan;
use tagwave::tensor::{DType, HostTensor};
use tagwave::test_cases;

/// Different limits, as far as the host half depends on them.
fn limits() -> [Limits; 2] {
    let hardware = Limits {
        f16: true,
        subgroup: Some([32, 32]),
        subgroup_ids: true,
        matrices: vec![8, 16],
        ..Limits::default()
    };
    [hardware.clone(), Limits { software: true, subgroup: Some([8, 8]), ..hardware }]
}

/// WGSL extensions of a device with all features that kernels use.
fn capabilities() -> Capabilities {
    Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP | Capabilities::COOPERATIVE_MATRIX
}

fn dispatches_of(plan: &Plan, found: &mut Vec<Dispatch>) {
    for step in plan.steps() {
        let shapes = plan.shapes(step);
        for element in [DType::F32, DType::F16] {
            let call = Call { element, ..plan.call(step, &shapes) };
            for limits in limits() {
                for config in step.op.configs(&call, &limits) {
                    // Test cases past a limit of the smallest devices are for those that have more.
                    if let Ok(dispatch) = step.op.dispatch(&call, config, &limits) {
                        found.push(dispatch);
                    }
                }
            }
        }
    }
}

/// All distinct shaders of the test cases.
fn dispatches() -> Vec<Dispatch> {
    let mut found = Vec::new();
    for case in test_cases::all() {
        dispatches_of(&case.plan, &mut found);
    }
    let mut seen = BTreeSet::new();
    found.retain(|dispatch| seen.insert((dispatch.source(), format!("{:?}", dispatch.constants))));
    found
}

fn parse(dispatch: &Dispatch) -> naga::Module {
    let source = dispatch.source();
    naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{}: {}", dispatch.kernel.name, error.emit_to_string(&source)))
}

#[test]
fn every_dispatch_validates_and_becomes_spirv() {
    for dispatch in dispatches() {
        let name = dispatch.kernel.name;
        let module = parse(&dispatch);
        let mut validator = Validator::new(ValidationFlags::all(), capabilities());
        let info = validator.validate(&module).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let constants = dispatch.constants.iter().map(|(key, value)| (key.to_string(), *value)).collect();
        let entry = Some((naga::ShaderStage::Compute, "main"));
        let (module, info) =
            naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        naga::back::spv::write_vec(&module, &info, &naga::back::spv::Options::default(), None)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Slot, name and access of the lines under `group(0)` in a kernel's header.
fn contract(source: &str) -> Vec<(u32, String, String)> {
    let lines = source.lines().skip_while(|line| *line != "// group(0)").skip(1);
    lines
        .take_while(|line| line.trim() != "//")
        .map(|line| {
            let line = line.trim_start_matches("//").trim();
            let (slot, rest) = line.split_once(char::is_whitespace).expect("slot and name");
            let (name, rest) = rest.trim().split_once(char::is_whitespace).expect("name and access");
            let rest = rest.trim();
            let access = ["uniform", "storage, read_write (only written)", "storage, read"]
                .into_iter()
                .find(|access| rest.starts_with(access))
                .unwrap_or_else(|| panic!("no access in {rest:?}"));
            (slot.parse().expect("a slot"), name.to_string(), access.to_string())
        })
        .collect()
}

#[test]
fn contracts_match_the_compiled_shaders() {
    for dispatch in dispatches() {
        let kernel = dispatch.kernel;
        let module = parse(&dispatch);
        let reflected: BTreeMap<u32, (String, String)> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let binding = variable.binding?;
                let access = match variable.space {
                    naga::AddressSpace::Uniform => "uniform",
                    naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => {
                        "storage, read_write (only written)"
                    }
                    naga::AddressSpace::Storage { .. } => "storage, read",
                    _ => "other",
                };
                assert_eq!(binding.group, 0, "{}", kernel.name);
                Some((binding.binding, (variable.name.clone().unwrap_or_default(), access.to_string())))
            })
            .collect();
        let written = contract(kernel.source);
        assert_eq!(written.len(), reflected.len(), "{}: bindings in the contract", kernel.name);
        for (slot, name, access) in written {
            assert_eq!(reflected[&slot], (name, access), "{}: slot {slot}", kernel.name);
        }
        // The host's table: names in slot order, outputs written, everything else read.
        for (place, binding) in kernel.bindings.iter().enumerate() {
            let (name, access) = &reflected[&(place as u32 + 1)];
            assert_eq!(name, binding.name, "{}", kernel.name);
            assert_eq!(access.contains("write"), binding.role == Role::Output, "{}: {name}", kernel.name);
        }
    }
}

#[test]
fn params_lie_where_the_host_puts_them() {
    for dispatch in dispatches() {
        let name = dispatch.kernel.name;
        let module = parse(&dispatch);
        let (_, params) = module
            .types
            .iter()
            .find(|(_, ty)| ty.name.as_deref() == Some("Params"))
            .unwrap_or_else(|| panic!("{name}: no struct Params"));
        let naga::TypeInner::Struct { members, .. } = &params.inner else { panic!("{name}: not a struct") };
        let fields = dispatch.params.fields();
        assert_eq!(members.len(), fields.len(), "{name}: fields of Params");
        for (index, (member, (field, value))) in members.iter().zip(fields).enumerate() {
            assert_eq!(member.name.as_deref(), Some(*field), "{name}");
            assert_eq!(member.offset as usize, 4 * index, "{name}: {field}");
            let scalar = match module.types[member.ty].inner {
                naga::TypeInner::Scalar(scalar) => scalar,
                ref other => panic!("{name}: {field} is {other:?}"),
            };
            let expected = match value {
                Value::U32(_) => naga::Scalar::U32,
                Value::F32(_) => naga::Scalar::F32,
            };
            assert_eq!(scalar, expected, "{name}: {field}");
        }
    }
}

/// Kernels fit the smallest WebGPU device: threads, shared memory and buffers of a workgroup.
#[test]
fn kernels_keep_within_the_default_limits() {
    let limits = Limits::default();
    for dispatch in dispatches() {
        let name = dispatch.kernel.name;
        let module = parse(&dispatch);
        let mut validator = Validator::new(ValidationFlags::all(), capabilities());
        let info = validator.validate(&module).unwrap();
        let constants = dispatch.constants.iter().map(|(key, value)| (key.to_string(), *value)).collect();
        let entry = Some((naga::ShaderStage::Compute, "main"));
        let (module, _) =
            naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants).unwrap();
        let threads: u32 = module.entry_points[0].workgroup_size.iter().product();
        assert!(threads <= limits.max_workgroup_threads, "{name}: {threads} threads");
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        assert!(shared <= limits.max_shared_bytes, "{name}: {shared} bytes shared");
        assert!(dispatch.kernel.bindings.len() as u32 <= limits.max_storage_buffers, "{name}");
    }
}

/// True if the line `includes` of a kernel's header, such as `element_*, index, and reduce or reduce_subgroup`, names
/// the appended files.
fn names_appended(source: &str, appended: &[&str]) -> bool {
    let line = source.lines().find_map(|line| line.strip_prefix("// includes ")).unwrap_or_default();
    let items = line.split(',').map(|item| item.trim().trim_start_matches("and "));
    let items: Vec<Vec<&str>> =
        items.filter(|item| !item.starts_with("element_")).map(|item| item.split(" or ").collect()).collect();
    items.len() == appended.len()
        && items.iter().all(|names| names.iter().filter(|name| appended.contains(name)).count() == 1)
}

#[test]
fn contracts_name_what_is_appended() {
    for dispatch in dispatches() {
        let kernel = dispatch.kernel;
        let appended: Vec<&str> = kernel.includes.iter().map(|include| include.name).collect();
        assert!(names_appended(kernel.source, &appended), "{}: {appended:?}", kernel.name);
    }
}

/// Every shader file is covered by the tests above, and none is too long.
#[test]
fn every_kernel_file_is_reached() {
    let reached: BTreeSet<String> =
        dispatches().iter().map(|dispatch| dispatch.kernel.name.to_string()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    for group in ["frontend", "layers"] {
        for entry in std::fs::read_dir(folder.join(group)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_string();
            assert!(reached.contains(&name), "no test case reaches {}", path.display());
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with(&format!("// {name}: ")), "{}: contract first", path.display());
            for section in ["// dispatch ", "// numerics ", "// includes ", "// host "] {
                assert!(text.contains(section), "{}: no line {section:?}", path.display());
            }
            let host = text.lines().find_map(|line| line.strip_prefix("// host ")).unwrap();
            for file in host.split_whitespace().filter(|word| word.ends_with(".rs")) {
                let is_there = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).is_file();
                assert!(is_there, "{}: {file} does not exist", path.display());
            }
        }
    }
}

/// Release builds run without index checks (`gpu::Options::checked`): the stated largest index of every kernel must be
/// inside the bound range.
#[test]
fn every_dispatch_stays_inside_its_bindings() {
    for case in test_cases::all() {
        let step = &case.plan.steps()[0];
        let shapes = case.plan.shapes(step);
        let weights: Vec<&HostTensor> =
            step.weights.iter().filter_map(|&id| case.plan.weight(id).map(|weight| &**weight)).collect();
        for element in [DType::F32, DType::F16] {
            let call = Call { element, ..case.plan.call(step, &shapes) };
            for (limits, config) in limits()
                .iter()
                .flat_map(|limits| step.op.configs(&call, limits).into_iter().map(move |s| (limits, s)))
            {
                let Ok(dispatch) = step.op.dispatch(&call, config, limits) else { continue };
                let packed = step.op.pack(&call, config, &weights);
                let bounds = step.op.max_index(&call, config, &packed);
                let bounds = bounds.unwrap_or_else(|| panic!("{}: no bounds", dispatch.kernel.name));
                assert!(
                    is_within_bounds(&call, &bounds, dispatch.kernel, &packed),
                    "{} [{config}]: {bounds:?}",
                    case.name
                );
            }
        }
    }
}
