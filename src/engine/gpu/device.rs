//! The device: an adapter, the pipelines made of the shader, and what went wrong with either.
//!
//! Nothing here is on the byte path. Errors that the driver reports outside of any call end in
//! [`Device::failure`], which whoever waits for the device looks at.

use std::sync::{Arc, OnceLock};

use super::{Failure, Options};

/// The shader's text.
pub const SHADER: &str = include_str!("../../../shaders/aes_ctr.wgsl");

/// An adapter, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// Discrete, integrated, virtual or software.
    pub kind: &'static str,
}

impl Adapter {
    fn of(info: &wgpu::AdapterInfo) -> Adapter {
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => SOFTWARE,
            wgpu::DeviceType::Other => "other",
        };
        Adapter {
            name: info.name.clone(),
            backend: format!("{:?}", info.backend),
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            kind,
        }
    }

    /// Whether it is a program on the CPU: good for tests only.
    pub fn is_software(&self) -> bool {
        self.kind == SOFTWARE
    }
}

const SOFTWARE: &str = "software";

/// The adapters of this machine, the one to take first. A machine without Vulkan, Metal or DX12 has
/// none.
fn adapters(options: &Options) -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    descriptor.flags = if options.validation {
        wgpu::InstanceFlags::VALIDATION | wgpu::InstanceFlags::DEBUG
    } else {
        wgpu::InstanceFlags::empty()
    };
    let instance = wgpu::Instance::new(descriptor);
    let mut found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let rank = |adapter: &wgpu::Adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    found.sort_by_key(rank);
    if !options.software {
        found.retain(|adapter| adapter.get_info().device_type != wgpu::DeviceType::Cpu);
    }
    found
}

/// How bytes get to the device and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Through staging buffers that are copied.
    Staged,
    /// The shader reads and writes mapped buffers itself.
    Mapped,
}

/// An open device with a pipeline for each key size. One thread uses it: a driver that fails for one
/// user takes memory away from under all others.
pub struct Device {
    /// What it is.
    pub adapter: Adapter,
    /// How bytes get there.
    pub transfer: Transfer,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) bindings: wgpu::BindGroupLayout,
    pipelines: [wgpu::ComputePipeline; 3],
    reported: Arc<OnceLock<Failure>>,
}

impl Device {
    /// Opens the best adapter there is; software only where the options allow it.
    pub fn open(options: &Options) -> Result<Device, Failure> {
        let adapter = adapters(options).into_iter().next();
        let adapter = adapter.ok_or_else(|| Failure::error("this machine has no GPU"))?;
        let about = Adapter::of(&adapter.get_info());
        let mappable = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        let shared = adapter.get_info().device_type == wgpu::DeviceType::IntegratedGpu;
        let wanted = options.transfer.unwrap_or(if shared {
            Transfer::Mapped
        } else {
            Transfer::Staged
        });
        let mapped = wanted == Transfer::Mapped && adapter.features().contains(mappable);
        let timed = adapter.features() & super::kernel_time::FEATURES;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("ciphermill"),
            required_features: if mapped { mappable | timed } else { timed },
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Failure::error(format!("the device cannot be opened: {e}")))?;
        let reported: Arc<OnceLock<Failure>> = Arc::default();
        listen(&device, &reported);
        let bindings = bindings(&device);
        let pipelines = pipelines(&device, &bindings, options);
        let open = Device {
            adapter: about,
            transfer: if mapped {
                Transfer::Mapped
            } else {
                Transfer::Staged
            },
            device,
            queue,
            bindings,
            pipelines,
            reported,
        };
        open.failure().map_or(Ok(open), Err)
    }

    /// What the driver reported outside of any call, if anything.
    pub fn failure(&self) -> Option<Failure> {
        self.reported.get().cloned()
    }

    /// Gives the device up, as a driver that fails would: for tests of what happens then.
    pub fn lose(&self) {
        self.device.destroy();
    }

    /// The pipeline for keys of so many bytes.
    pub(super) fn pipeline(&self, key_bytes: usize) -> &wgpu::ComputePipeline {
        &self.pipelines[(key_bytes / 8).saturating_sub(2).min(2)]
    }
}

/// Keeps the first thing that goes wrong. Without this, wgpu would panic.
fn listen(device: &wgpu::Device, reported: &Arc<OnceLock<Failure>>) {
    let first = Arc::clone(reported);
    device.on_uncaptured_error(Arc::new(move |error| {
        let _ = first.set(Failure::error(error));
    }));
    let first = Arc::clone(reported);
    device.set_device_lost_callback(move |reason, message| {
        let _ = first.set(Failure::lost(format!("{reason:?}: {message}")));
    });
}

fn bindings(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let entry = |binding, read_only| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("aes_ctr"),
        entries: &[
            entry(0, true),
            entry(1, true),
            entry(2, true),
            entry(3, false),
        ],
    })
}

#[allow(unsafe_code, reason = "a shader without run-time checks")]
fn pipelines(
    device: &wgpu::Device,
    bindings: &wgpu::BindGroupLayout,
    options: &Options,
) -> [wgpu::ComputePipeline; 3] {
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("aes_ctr"),
        bind_group_layouts: &[Some(bindings)],
        immediate_size: 0,
    });
    let source = wgpu::ShaderModuleDescriptor {
        label: Some("aes_ctr"),
        source: wgpu::ShaderSource::Wgsl(options.shader.clone()),
    };
    let module = if options.shader == SHADER {
        // SAFETY: this shader's loops end, and its indexes are those of the tiles, which `Slot`
        // makes: every tile lies within the buffers that are bound.
        unsafe {
            device.create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked())
        }
    } else {
        device.create_shader_module(source)
    };
    [10.0, 12.0, 14.0].map(|rounds| {
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("aes_ctr"),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[("ROUNDS", rounds)],
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        })
    })
}
