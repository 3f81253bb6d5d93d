//! tagwave beside egui, another user of the same device: an overlay is drawn in every frame while a clip is computed, and
//! then shows its tags. Headless: writes the last frame as a PPM image.
//!
//! `cargo run --release --manifest-path examples/overlay/Cargo.toml -- overlay.ppm`

use std::io::Write;
use std::time::Duration;

use egui_wgpu::{Renderer, RendererOptions, ScreenDescriptor};
use tagwave::gpu::{self, Context};
use tagwave::tagger::{Pending, Tagger};
use tagwave::tags::{Tag, TagSelection};
use tagwave::wgpu;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Size of a frame in pixels; a row of the image is a multiple of 256 bytes.
const SIZE: [u32; 2] = [448, 256];
const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

struct Overlay {
    device: wgpu::Device,
    queue: wgpu::Queue,
    target: wgpu::Texture,
    context: egui::Context,
    renderer: Renderer,
}

impl Overlay {
    fn new(device: wgpu::Device, queue: wgpu::Queue) -> Overlay {
        let target = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("frame"),
            size: wgpu::Extent3d { width: SIZE[0], height: SIZE[1], depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let renderer = Renderer::new(&device, FORMAT, RendererOptions::default());
        Overlay { device, queue, target, context: egui::Context::default(), renderer }
    }

    /// Draws one frame.
    fn draw(&mut self, title: &str, tags: &[Tag]) {
        let size = egui::vec2(SIZE[0] as f32, SIZE[1] as f32);
        let screen_rect = Some(egui::Rect::from_min_size(egui::Pos2::ZERO, size));
        let input = egui::RawInput { screen_rect, ..Default::default() };
        let output = self.context.run_ui(input, |ui| {
            ui.heading(title);
            for tag in tags {
                ui.add(egui::ProgressBar::new(tag.score).text(format!("{} {:.2}", tag.label, tag.score)));
            }
        });
        let jobs = self.context.tessellate(output.shapes, output.pixels_per_point);
        for (id, delta) in &output.textures_delta.set {
            self.renderer.update_texture(&self.device, &self.queue, *id, delta);
        }
        let screen = ScreenDescriptor { size_in_pixels: SIZE, pixels_per_point: output.pixels_per_point };
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let buffers = self.renderer.update_buffers(&self.device, &self.queue, &mut encoder, &jobs, &screen);
        {
            let view = self.target.create_view(&Default::default());
            let pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("overlay"),
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations {
                        load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                        store: wgpu::StoreOp::Store,
                    },
                })],
                ..Default::default()
            });
            self.renderer.render(&mut pass.forget_lifetime(), &jobs, &screen);
        }
        self.queue.submit(buffers.into_iter().chain([encoder.finish()]));
        output.textures_delta.free.iter().for_each(|id| self.renderer.free_texture(id));
    }

    /// The last frame, as bytes of red, green, blue.
    fn pixels(&self) -> Outcome<Vec<u8>> {
        let size = u64::from(SIZE[0] * SIZE[1] * 4);
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("pixels"),
            size,
            usage,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * SIZE[0]), rows_per_image: None };
        encoder.copy_texture_to_buffer(
            self.target.as_image_copy(),
            wgpu::TexelCopyBufferInfo { buffer: &buffer, layout },
            self.target.size(),
        );
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., |_| {});
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let bytes = buffer.get_mapped_range(..)?;
        Ok(bytes.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
    }
}

fn main() -> Outcome<()> {
    let image = std::env::args().nth(1);

    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: gpu::wanted_features(&adapter),
        ..Default::default()
    }))?;

    // Two libraries on one device, neither of which owns it.
    let mut overlay = Overlay::new(device.clone(), queue.clone());
    let tagger = Tagger::builder().gpu(Context::from_device(device.clone(), queue)).build()?;
    println!("{}", tagger.device_name());

    // Stands for the samples that a player has decoded.
    let samples: Vec<f32> = (0..44_100 * 30).map(|n| chord(n as f32 / 44_100.0)).collect();
    let mut pending: Pending = tagger.submit(&samples, 44_100)?;
    let mut frames = 0;
    let track = loop {
        overlay.draw("listening ...", &[]);
        frames += 1;
        let _ = device.poll(wgpu::PollType::Poll);
        if let Some(track) = pending.try_take() {
            break track?;
        }
        std::thread::sleep(Duration::from_millis(16));
    };
    let tags = tagger.tags(&track, TagSelection::Top(5));
    overlay.draw("now playing", &tags);
    println!("{frames} frames while computing");
    for tag in &tags {
        println!("{:.3}  {}", tag.score, tag.label);
    }
    let pixels = overlay.pixels()?;
    let bright = pixels.iter().filter(|&&value| value > 128).count();
    if bright < 1000 {
        return Err(format!("nothing was drawn: {bright} bright values").into());
    }
    if let Some(image) = image {
        let mut out = std::fs::File::create(image)?;
        write!(out, "P6\n{} {}\n255\n", SIZE[0], SIZE[1])?;
        out.write_all(&pixels)?;
    }
    Ok(())
}

fn chord(t: f32) -> f32 {
    0.2 * ((1382.0 * t).sin() + (1742.0 * t).sin() + (2073.0 * t).sin()) * (1.0 - (2.0 * t).fract())
}
