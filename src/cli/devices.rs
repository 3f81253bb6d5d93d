//! `tagwave devices`.

use std::io::{self, Write};

use super::{CliError, write_failed};
use crate::cpu::SimdLevel;
use crate::gpu;

/// Lists the devices; the one that `auto` selects is marked.
pub(super) fn devices() -> Result<u8, CliError> {
    print(&mut io::stdout().lock()).map_err(|error| write_failed(&error))?;
    Ok(0)
}

fn print(out: &mut impl Write) -> io::Result<()> {
    let adapters = gpu::adapters();
    for (index, adapter) in adapters.iter().enumerate() {
        let limits = &adapter.limits;
        let mark = if index == 0 && !limits.software { "  <- auto" } else { "" };
        writeln!(out, "{index}  {}{mark}", adapter.name)?;
        writeln!(out, "   type      {}", adapter.adapter_type.as_str())?;
        writeln!(out, "   backend   {}", adapter.backend)?;
        writeln!(out, "   driver    {}", adapter.driver)?;
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
    let hardware = adapters.first().is_some_and(|adapter| !adapter.limits.software);
    if adapters.is_empty() {
        writeln!(out, "no GPU adapter found: install a Vulkan driver")?;
    }
    let mark = if hardware { "" } else { "  <- auto" };
    let simd_level = SimdLevel::available();
    let widest = simd_level.first().map_or("scalar", |simd_level| simd_level.as_str());
    writeln!(out, "cpu  {} threads, {widest}{mark}", threads())?;
    writeln!(out, "reference  reference implementation (slow)")
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
