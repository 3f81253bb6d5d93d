//! `tagwave devices`.

use std::io::{self, Write};

use super::{CliError, cache_dir, write_failed};
use tagwave::cpu::SimdLevel;
use tagwave::gpu::{self, AdapterSummary, AdapterType};
use tagwave::tagger::device_finding;

/// Lists the devices; the one that `auto` selects is marked.
pub(super) fn devices() -> Result<u8, CliError> {
    print(&mut io::stdout().lock()).map_err(|error| write_failed(&error))?;
    Ok(0)
}

fn print(out: &mut impl Write) -> io::Result<()> {
    let adapters = gpu::adapters();
    let folder = cache_dir();
    let finding = |adapter: &AdapterSummary| device_finding(adapter, folder.as_deref()?);
    // `auto` takes the first GPU that it has not found to be unable or slower than the CPU.
    let is_usable = |adapter: &AdapterSummary| {
        !adapter.limits.software && finding(adapter).is_none_or(|(is_used, _)| is_used)
    };
    let chosen = adapters.iter().position(is_usable);
    for (index, adapter) in adapters.iter().enumerate() {
        let limits = &adapter.limits;
        let mark = if chosen == Some(index) { "  <- auto" } else { "" };
        writeln!(out, "{index}  {}{mark}", adapter.name)?;
        writeln!(out, "   type      {}", adapter.adapter_type.as_str())?;
        writeln!(out, "   backend   {}", adapter.backend)?;
        writeln!(out, "   driver    {}", adapter.driver)?;
        if let Some((_, reason)) = finding(adapter) {
            writeln!(out, "   auto      {reason}")?;
        } else if !limits.software && adapter.adapter_type != AdapterType::Discrete {
            writeln!(
                out,
                "   auto      not measured yet: the first run with --device auto compares it with the CPU"
            )?;
        }
        let pci = if adapter.pci_bus_id.is_empty() { "none" } else { &adapter.pci_bus_id };
        writeln!(out, "   PCI       {pci}")?;
        let yes_no = |yes: bool| if yes { "yes" } else { "no" };
        writeln!(
            out,
            "   features  f16 {}, timestamps {}, subgroups of {} to {}",
            yes_no(limits.f16),
            yes_no(adapter.timestamps),
            adapter.subgroup_size[0],
            adapter.subgroup_size[1]
        )?;
        writeln!(
            out,
            "   limits    {} threads and {} KiB shared per workgroup, {} MiB per binding, {} MiB per buffer",
            limits.max_workgroup_threads,
            limits.max_shared_bytes >> 10,
            limits.max_binding_bytes >> 20,
            limits.max_buffer_bytes >> 20
        )?;
    }
    if adapters.is_empty() {
        writeln!(out, "no GPU adapter found: install a Vulkan driver")?;
    }
    let mark = if chosen.is_some() { "" } else { "  <- auto" };
    let simd_level = SimdLevel::available();
    let widest = simd_level.first().map_or("scalar", |simd_level| simd_level.as_str());
    writeln!(out, "cpu  {} threads, {widest}{mark}", threads())?;
    writeln!(out, "reference  reference implementation (slow)")
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
