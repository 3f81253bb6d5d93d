//! A headless game at 60 Hz on its own device, while tags of the playing track come every second. Prints frame times with
//! and without tagging; `--max-ratio R` fails if tagging makes the median frame more than R times as long.
//!
//! `cargo run --release --example game -- [--seconds N] [--budget MILLISECONDS] [--max-ratio R]`

use std::time::{Duration, Instant};

use tagwave::gpu::{self, Context, RecorderInput};
use tagwave::tagger::{Reading, Recorder, Tagger};
use tagwave::tags::{self, TagSelection};
use tagwave::wgpu::{self, util::DeviceExt};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Particles of the game.
const PARTICLES: u32 = 20_000;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// The game's own work: moves particles by a compute shader, and draws them.
const SHADER: &str = "
@group(0) @binding(0) var<storage, read_write> places: array<vec4<f32>>;

@compute @workgroup_size(64)
fn move_particles(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&places) {
        let p = places[id.x];
        places[id.x] = vec4<f32>(fract((p.xy + p.zw * 0.01) * 0.5 + 0.5) * 2.0 - 1.0, p.zw);
    }
}

@vertex
fn place(@location(0) p: vec4<f32>) -> @builtin(position) vec4<f32> {
    return vec4<f32>(p.xy, 0.0, 1.0);
}

@fragment
fn colour() -> @location(0) vec4<f32> {
    return vec4<f32>(1.0, 0.6, 0.2, 1.0);
}
";

struct Game {
    device: wgpu::Device,
    queue: wgpu::Queue,
    target: wgpu::TextureView,
    particles: wgpu::Buffer,
    movement: (wgpu::ComputePipeline, wgpu::BindGroup),
    drawing: wgpu::RenderPipeline,
}

impl Game {
    fn new() -> Outcome<Game> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
        // `wanted_features` makes tagging faster and its times measurable; the game itself needs none.
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: gpu::wanted_features(&adapter),
            required_limits: wgpu::Limits::default(),
            ..Default::default()
        }))?;
        println!("{}", adapter.get_info().name);
        let extent = wgpu::Extent3d { width: 640, height: 360, depth_or_array_layers: 1 };
        let format = wgpu::TextureFormat::Rgba8Unorm;
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("frame"),
            size: extent,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        let numbers = (0..4 * PARTICLES).map(|i| (f64::from(i) * 0.618_034 % 2.0 - 1.0) as f32);
        let particles = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("particles"),
            contents: &numbers.flat_map(f32::to_le_bytes).collect::<Vec<_>>(),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::VERTEX,
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("game"),
            source: wgpu::ShaderSource::Wgsl(SHADER.into()),
        });
        let movement = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("move"),
            layout: None,
            module: &module,
            entry_point: Some("move_particles"),
            compilation_options: Default::default(),
            cache: None,
        });
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("particles"),
            layout: &movement.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: particles.as_entire_binding() }],
        });
        let drawing = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("draw"),
            layout: None,
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("place"),
                compilation_options: Default::default(),
                buffers: &[Some(wgpu::VertexBufferLayout {
                    array_stride: 16,
                    step_mode: wgpu::VertexStepMode::Vertex,
                    attributes: &wgpu::vertex_attr_array![0 => Float32x4],
                })],
            },
            primitive: wgpu::PrimitiveState {
                topology: wgpu::PrimitiveTopology::PointList,
                ..Default::default()
            },
            depth_stencil: None,
            multisample: Default::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("colour"),
                compilation_options: Default::default(),
                targets: &[Some(format.into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        let target = texture.create_view(&Default::default());
        Ok(Game { device, queue, target, particles, movement: (movement, bind_group), drawing })
    }

    /// Records the game's own frame.
    fn frame(&self, encoder: &mut wgpu::CommandEncoder) {
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&self.movement.0);
            pass.set_bind_group(0, &self.movement.1, &[]);
            pass.dispatch_workgroups(PARTICLES.div_ceil(64), 1, 1);
        }
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("frame"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &self.target,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations {
                    load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                    store: wgpu::StoreOp::Store,
                },
            })],
            ..Default::default()
        });
        pass.set_pipeline(&self.drawing);
        pass.set_vertex_buffer(0, self.particles.slice(..));
        pass.draw(0..PARTICLES, 0..1);
    }
}

/// Tags the last clip of the playing track every second, a step in each frame.
struct NowPlaying {
    recorder: Recorder,
    budget: Duration,
    reading: Option<Reading>,
    due_s: f64,
}

impl NowPlaying {
    /// Records the next step into the frame's encoder.
    fn step(&mut self, encoder: &mut wgpu::CommandEncoder, now_s: f64) -> Outcome<()> {
        if now_s >= self.due_s && self.reading.is_none() && !self.recorder.is_recording() {
            self.due_s = now_s + 1.0;
            let clip = played(now_s, self.recorder.clip_samples(), self.recorder.sample_rate_hz());
            self.recorder.begin(RecorderInput::Samples(&clip))?;
        }
        if self.recorder.is_recording() && self.recorder.step(encoder, self.budget)?.is_complete {
            self.reading = Some(self.recorder.read(encoder)?);
        }
        Ok(())
    }

    /// The tags, if they have arrived.
    fn tags(&mut self) -> Outcome<Option<String>> {
        let Some(result) = self.reading.as_mut().and_then(Reading::try_take) else { return Ok(None) };
        self.reading = None;
        let found = tags::select(self.recorder.vocabulary(), &result?.scores, TagSelection::Top(3));
        let found: Vec<String> = found.iter().map(|tag| format!("{} {:.2}", tag.label, tag.score)).collect();
        Ok(Some(found.join(", ")))
    }
}

/// The last clip of a synthetic track at the model's rate. A real player keeps these samples, or takes them from
/// `Tagger::stream`.
fn played(now_s: f64, samples: usize, rate_hz: u32) -> Vec<f32> {
    let rate = f64::from(rate_hz);
    let sample = |n: usize| {
        let t = now_s + n as f64 / rate;
        let beat = (-8.0 * (2.0 * t).fract()).exp();
        (beat * (600.0 * t).sin() + 0.3 * (2760.0 * t).sin() + 0.2 * (3480.0 * t).sin()) as f32 * 0.4
    };
    (0..samples).map(sample).collect()
}

/// Runs the game and returns the time of each frame in milliseconds: recording, submission and the device's work.
fn run(game: &Game, seconds: f64, mut music: Option<&mut NowPlaying>) -> Outcome<Vec<f64>> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut frame_index = 0;
    while start.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        let mut encoder = game.device.create_command_encoder(&Default::default());
        game.frame(&mut encoder);
        if let Some(music) = music.as_deref_mut() {
            music.step(&mut encoder, start.elapsed().as_secs_f64())?;
        }
        game.queue.submit([encoder.finish()]);
        game.device.poll(wgpu::PollType::wait_indefinitely())?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        if let Some(tags) = music.as_deref_mut().map(NowPlaying::tags).transpose()?.flatten() {
            println!("{:6.2} s  {tags}", start.elapsed().as_secs_f64());
        }
        frame_index += 1;
        std::thread::sleep((FRAME * frame_index).saturating_sub(start.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn option(arguments: &[String], name: &str, default: f64) -> Outcome<f64> {
    let value = arguments.iter().position(|argument| argument == name).map(|place| arguments.get(place + 1));
    Ok(match value {
        Some(Some(value)) => value.parse()?,
        Some(None) => return Err(format!("{name} needs a number").into()),
        None => default,
    })
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = option(&arguments, "--seconds", 10.0)?;
    let budget_ms = option(&arguments, "--budget", 4.0)?;
    let max_ratio = option(&arguments, "--max-ratio", f64::INFINITY)?;
    let game = Game::new()?;

    // On the loading screen.
    let context = Context::from_device(game.device.clone(), game.queue.clone());
    let mut recorder = Tagger::builder().gpu(context).build_recorder()?;
    recorder.warm_up()?;
    println!("{:.1} MB on the device", recorder.device_bytes() as f64 / 1e6);
    let budget = Duration::from_secs_f64(budget_ms / 1e3);
    let mut music = NowPlaying { recorder, budget, reading: None, due_s: 0.0 };

    let alone = run(&game, seconds, None)?;
    let tagging = run(&game, seconds, Some(&mut music))?;
    let at = |times: &[f64], share: f64| times[((times.len() - 1) as f64 * share) as usize];
    for (name, times) in [("alone", &alone), ("tagging", &tagging)] {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| at(times, share));
        println!("{name:8} p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms, {} frames", times.len());
    }
    let ratio = at(&tagging, 0.5) / at(&alone, 0.5);
    if ratio > max_ratio {
        return Err(format!("the median frame is {ratio:.1} times as long with tagging").into());
    }
    Ok(())
}
