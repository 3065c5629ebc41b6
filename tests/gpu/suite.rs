//! The shared suite: a kernel whose CTR is the device's passes what every CPU kernel passes.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ciphermill::engine::gpu::device::Device;
use ciphermill::engine::gpu::{Item, Lane, Options};
use ciphermill_cipher::Block;
use ciphermill_cipher::Result;
use ciphermill_cipher::cpu::portable::Portable;
use ciphermill_cipher::cpu::{CounterWidth, Data, GcmKeyed, Kernel, Keyed};
use ciphermill_cipher::offload::{DeviceKey, Keystream, Offload, Text};
use ciphermill_cipher::secret::Secret;

use super::checks::CHECKS;

/// What a device takes part in.
const ITS_CHECKS: [&str; 3] = ["ctr lengths", "ctr alignments", "ctr carries"];

#[test]
fn the_device_passes_the_suite_of_the_kernels() {
    let mut done = 0;
    for (name, check) in CHECKS.iter().filter(|(name, _)| ITS_CHECKS.contains(name)) {
        println!("gpu: {name}");
        check(&Shader);
        done += 1;
    }
    assert_eq!(done, ITS_CHECKS.len());
    let ciphered = CIPHERED_BYTES.load(std::sync::atomic::Ordering::Relaxed);
    assert!(ciphered > 50 << 20, "the device did {ciphered} bytes only");
}

static CIPHERED_BYTES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// A kernel that computes CTR on the device and nothing else.
struct Shader;

struct ShaderKey {
    portable: Box<dyn Keyed>,
    device_key: DeviceKey,
}

fn lane() -> &'static Mutex<Lane> {
    static LANE: OnceLock<Mutex<Lane>> = OnceLock::new();
    LANE.get_or_init(|| {
        let options = Options {
            slot_bytes: 64 << 10,
            ..super::options()
        };
        let device = Device::open(&options).expect("a Vulkan adapter");
        println!("on {:?}", device.adapter);
        Mutex::new(Lane::new(Arc::new(device), &options))
    })
}

impl Kernel for Shader {
    fn name(&self) -> &'static str {
        "shader"
    }

    fn key(&self, key: &Secret) -> Result<Box<dyn Keyed>> {
        Ok(Box::new(ShaderKey {
            portable: Portable.key(key)?,
            device_key: DeviceKey::new(key),
        }))
    }

    fn gcm(&self, key: &Secret) -> Result<Box<dyn GcmKeyed>> {
        Portable.gcm(key)
    }
}

impl Keyed for ShaderKey {
    fn encrypt_block(&self, block: &mut Block) {
        self.portable.encrypt_block(block);
    }

    fn ctr(&self, counter: Block, width: CounterWidth, mut data: Data<'_, '_>) {
        if data.is_empty() {
            return;
        }
        let source = data.get_in().to_vec();
        let item = Item {
            offload: Offload::bare(
                self.portable.as_ref(),
                &self.device_key,
                Keystream { counter, width },
            ),
            text: Text::plain(&source),
            offset: 0,
        };
        let mut lane = lane().lock().unwrap_or_else(PoisonError::into_inner);
        lane.apply(&[item], |_, given| data.get_out().copy_from_slice(given))
            .expect("the device works");
        let bytes = source.len() as u64;
        CIPHERED_BYTES.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    fn cbc_encrypt(&self, chain: &mut Block, data: Data<'_, '_>) {
        self.portable.cbc_encrypt(chain, data);
    }

    fn cbc_decrypt(&self, previous: &Block, data: &mut [u8]) {
        self.portable.cbc_decrypt(previous, data);
    }
}
