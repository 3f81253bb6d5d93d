//! Tags a file on a device that belongs to the program, as a game or a media player would.
//!
//! `cargo run --release --example share_device -- WEIGHTS FILE`

use tagwave::gpu::Context;
use tagwave::tagger::Tagger;
use tagwave::tags::TagSelection;
use tagwave::wgpu;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(weights), Some(file)) = (words.next(), words.next()) else {
        return Err("usage: share_device WEIGHTS FILE".into());
    };
    // The program's own device; default limits are enough.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;

    let tagger = Tagger::builder()
        .model("crnn")
        .gpu(Context::from_device(device.clone(), queue))
        .weights(weights)
        .build()?;
    let track = tagger.tag_file(file)?;
    for tag in tagger.tags(&track, TagSelection::Top(5)) {
        println!("{:.3}  {}", tag.score, tag.label);
    }
    Ok(())
}
