//! Tags a file on a device that belongs to the program, as in a game or a media player.
//!
//! `cargo run --release --example share_device -- song.mp3`

use tagwave::gpu::Context;
use tagwave::tagger::Tagger;
use tagwave::tags::TagSelection;
use tagwave::wgpu;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "assets/demo.ogg".into());

    // The program's own device; default limits are enough.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;

    // Both are handles: the program goes on using its own.
    let tagger = Tagger::builder().gpu(Context::from_device(device.clone(), queue.clone())).build()?;
    println!("{}", tagger.device_name());
    let track = tagger.tag_file(file)?;
    for tag in tagger.tags(&track, TagSelection::Top(5)) {
        println!("{:.3}  {}", tag.score, tag.label);
    }
    Ok(())
}
