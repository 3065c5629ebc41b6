//! Peers: other implementations of the same work, to be measured beside ours in the same run.
//!
//! The Rust ones are linked; OpenSSL and Intel ipsec-mb come from the library that `build.sh` makes,
//! where CIPHERMILL_BENCH_PEERS says it is. Keys and IVs are fixed: nothing here protects anything.
#![allow(unsafe_code, reason = "a C library, loaded at run time")]

use aes::cipher::{BlockModeDecrypt, KeyInit, KeyIvInit, StreamCipher, block_padding::NoPadding};
use aes_gcm::aead::AeadInOut;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{aead as lc_aead, cipher as lc_cipher};
use ciphermill_cipher::cpu::{self, CounterWidth, Kernel};
use ciphermill_cipher::secret::Secret;
use libloading::{Library, Symbol};
use ring::aead as ring_aead;

/// What is measured, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// CTR; both directions are the same.
    Ctr,
    /// GCM, with the tag made.
    GcmSeal,
    /// GCM, with the tag computed.
    GcmOpen,
    /// CBC decryption.
    CbcOpen,
    /// CBC encryption of one stream.
    CbcSeal,
}

/// Every task.
#[allow(dead_code, reason = "each benchmark uses some")]
pub const TASKS: [Task; 5] = [
    Task::Ctr,
    Task::GcmSeal,
    Task::GcmOpen,
    Task::CbcOpen,
    Task::CbcSeal,
];

/// Does a task to a buffer.
pub type Work = Box<dyn FnMut(&mut [u8])>;

static IV: [u8; 16] = [3; 16];

/// The key that everybody uses.
pub fn key(bits: usize) -> Vec<u8> {
    vec![9; bits / 8]
}

/// Everybody who can do this here, by name; our kernels first.
pub fn all(task: Task, bits: usize) -> Vec<(String, Work)> {
    let ours = cpu::all().iter().map(|kernel| {
        let name = format!("ciphermill {}", kernel.name());
        (name, ours(*kernel, task, bits))
    });
    let others = [
        ("ipsec-mb", ipsec(task, bits)),
        ("aws-lc-rs", aws_lc(task, bits)),
        ("ring", ring(task, bits)),
        ("openssl", openssl(task, bits)),
        ("rustcrypto", rustcrypto(task, bits)),
    ];
    let others = others
        .into_iter()
        .filter_map(|(name, work)| Some((name.to_owned(), work?)));
    ours.chain(others).collect()
}

/// One of them.
#[allow(dead_code, reason = "each benchmark uses some")]
pub fn named(name: &str, task: Task, bits: usize) -> Option<Work> {
    let found = all(task, bits).into_iter().find(|(peer, _)| peer == name);
    found.map(|(_, work)| work)
}

/// One of our kernels.
pub fn ours(kernel: &'static dyn Kernel, task: Task, bits: usize) -> Work {
    let secret = Secret::new(key(bits));
    let keyed = kernel.key(&secret).expect("key");
    let gcm = kernel.gcm(&secret).expect("key");
    let tag = move |sum: &mut [u8; 16], bytes: usize| {
        let mut mask = IV;
        gcm.ghash(sum, &(bytes as u128 * 8).to_be_bytes());
        gcm.encrypt_block(&mut mask);
        std::hint::black_box((sum, mask));
    };
    let gcm = kernel.gcm(&secret).expect("key");
    match task {
        Task::Ctr => Box::new(move |data| keyed.ctr(IV, CounterWidth::Bits128, data.into())),
        Task::CbcOpen => Box::new(move |data| keyed.cbc_decrypt(&IV, data)),
        Task::CbcSeal => Box::new(move |data| keyed.cbc_encrypt(&mut IV.clone(), data.into())),
        Task::GcmSeal => Box::new(move |data| {
            let (mut sum, bytes) = ([0; 16], data.len());
            gcm.encrypt(IV, &mut sum, data.into());
            tag(&mut sum, bytes);
        }),
        Task::GcmOpen => Box::new(move |data| {
            let (mut sum, bytes) = ([0; 16], data.len());
            gcm.decrypt(IV, &mut sum, data.into());
            tag(&mut sum, bytes);
        }),
    }
}

macro_rules! by_bits {
    ($bits:expr, $with:ident) => {
        match $bits {
            128 => $with!(aes::Aes128),
            192 => $with!(aes::Aes192),
            _ => $with!(aes::Aes256),
        }
    };
}

fn rustcrypto(task: Task, bits: usize) -> Option<Work> {
    let key = key(bits);
    Some(match task {
        Task::Ctr => {
            macro_rules! with {
                ($aes:ty) => {
                    Box::new(move |data: &mut [u8]| {
                        let mut ctr =
                            ctr::Ctr32BE::<$aes>::new_from_slices(&key, &IV).expect("key");
                        ctr.apply_keystream(data);
                    }) as Work
                };
            }
            by_bits!(bits, with)
        }
        Task::GcmSeal => {
            macro_rules! with {
                ($aes:ty) => {{
                    let gcm =
                        aes_gcm::AesGcm::<$aes, aes_gcm::aead::consts::U12>::new_from_slice(&key);
                    let gcm = gcm.expect("key");
                    Box::new(move |data: &mut [u8]| {
                        let tag = gcm.encrypt_inout_detached(&[3; 12].into(), &[], data.into());
                        let _ = std::hint::black_box(tag.expect("short enough"));
                    }) as Work
                }};
            }
            by_bits!(bits, with)
        }
        Task::CbcOpen => {
            macro_rules! with {
                ($aes:ty) => {
                    Box::new(move |data: &mut [u8]| {
                        let cbc = cbc::Decryptor::<$aes>::new_from_slices(&key, &IV).expect("key");
                        cbc.decrypt_padded::<NoPadding>(data).expect("whole blocks");
                    }) as Work
                };
            }
            by_bits!(bits, with)
        }
        // The portable kernel is the crate.
        Task::CbcSeal | Task::GcmOpen => return None,
    })
}

fn aws_lc(task: Task, bits: usize) -> Option<Work> {
    let key = key(bits);
    let (ctr, gcm) = match bits {
        128 => (&lc_cipher::AES_128, &lc_aead::AES_128_GCM),
        192 => (&lc_cipher::AES_192, &lc_aead::AES_192_GCM),
        _ => (&lc_cipher::AES_256, &lc_aead::AES_256_GCM),
    };
    let nonce = || lc_aead::Nonce::assume_unique_for_key([3; 12]);
    Some(match task {
        Task::Ctr => {
            let key = lc_cipher::UnboundCipherKey::new(ctr, &key).expect("key");
            let key = lc_cipher::EncryptingKey::ctr(key).expect("key");
            Box::new(move |data| {
                let iv = lc_cipher::EncryptionContext::Iv128(FixedLength::from(IV));
                key.less_safe_encrypt(data, iv).expect("any length");
            })
        }
        Task::GcmSeal => {
            let key = lc_aead::LessSafeKey::new(lc_aead::UnboundKey::new(gcm, &key).expect("key"));
            Box::new(move |data| {
                let tag = key.seal_in_place_separate_tag(nonce(), lc_aead::Aad::empty(), data);
                let _ = std::hint::black_box(tag.expect("short enough"));
            })
        }
        _ => return None,
    })
}

fn ring(task: Task, bits: usize) -> Option<Work> {
    let algorithm = match bits {
        128 => &ring_aead::AES_128_GCM,
        256 => &ring_aead::AES_256_GCM,
        _ => return None,
    };
    if task != Task::GcmSeal {
        return None;
    }
    let key = ring_aead::UnboundKey::new(algorithm, &key(bits)).expect("key");
    let key = ring_aead::LessSafeKey::new(key);
    Some(Box::new(move |data| {
        let nonce = ring_aead::Nonce::assume_unique_for_key([3; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, ring_aead::Aad::empty(), data);
        let _ = std::hint::black_box(tag.expect("short enough"));
    }))
}

/// The library that `build.sh` made; `None` where there is none, or no such function.
fn function<F: Copy>(name: &[u8]) -> Option<F> {
    static LIBRARY: std::sync::OnceLock<Option<Library>> = std::sync::OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let path = std::env::var_os("CIPHERMILL_BENCH_PEERS")?;
        // SAFETY: our own library, whose initialisers do nothing.
        Some(unsafe { Library::new(path) }.expect("the peers' library"))
    });
    // SAFETY: callers name the type that peers.c gives the function; the library stays loaded.
    let symbol: Symbol<'_, F> = unsafe { library.as_ref()?.get(name) }.expect("the function");
    Some(*symbol)
}

type OpenSsl = unsafe extern "C" fn(i32, i32, i32, *const u8, *const u8, *mut u8, usize) -> i32;

fn openssl(task: Task, bits: usize) -> Option<Work> {
    let run: OpenSsl = function(b"peer_openssl")?;
    let (mode, encrypt) = match task {
        Task::Ctr => (0, 1),
        Task::GcmSeal => (1, 1),
        Task::GcmOpen => (1, 0),
        Task::CbcOpen => (2, 0),
        Task::CbcSeal => (2, 1),
    };
    let key = key(bits);
    let work = move |data: &mut [u8]| {
        let (key, iv) = (key.as_ptr(), IV.as_ptr());
        // SAFETY: key and IV are long enough; the data is writable for its length.
        unsafe {
            run(
                mode,
                bits as i32,
                encrypt,
                key,
                iv,
                data.as_mut_ptr(),
                data.len(),
            )
        }
    };
    (work(&mut [0; 64]) == 0)
        .then(|| Box::new(move |data: &mut [u8]| assert_eq!(work(data), 0)) as Work)
}

fn ipsec(task: Task, bits: usize) -> Option<Work> {
    type SetKey = unsafe extern "C" fn(i32, *const u8) -> i32;
    type Gcm = unsafe extern "C" fn(i32, *const u8, *mut u8, usize) -> i32;
    type Other = unsafe extern "C" fn(*const u8, *mut u8, usize) -> i32;
    let set_key: SetKey = function(b"peer_ipsec_key")?;
    // SAFETY: the key is as long as its size says.
    if unsafe { set_key(bits as i32, key(bits).as_ptr()) } != 0 {
        return None;
    }
    let other = |name: &[u8]| {
        let run: Other = function(name)?;
        // SAFETY: the IV is static; the data is writable for its length.
        let work = move |data: &mut [u8]| unsafe {
            assert_eq!(run(IV.as_ptr(), data.as_mut_ptr(), data.len()), 0);
        };
        Some(Box::new(work) as Work)
    };
    match task {
        Task::Ctr => other(b"peer_ipsec_ctr"),
        Task::CbcOpen => other(b"peer_ipsec_cbc_decrypt"),
        Task::GcmSeal | Task::GcmOpen => {
            let run: Gcm = function(b"peer_ipsec_gcm")?;
            let encrypt = i32::from(task == Task::GcmSeal);
            Some(Box::new(move |data| {
                // SAFETY: as above.
                unsafe { run(encrypt, IV.as_ptr(), data.as_mut_ptr(), data.len()) };
            }))
        }
        Task::CbcSeal => None,
    }
}

/// ipsec-mb's own multi-buffer CBC, over streams of equal length in place.
#[allow(dead_code, reason = "each benchmark uses some")]
pub fn ipsec_streams(bits: usize) -> Option<impl FnMut(&[*mut u8], usize)> {
    type Streams = unsafe extern "C" fn(*const *mut u8, usize, usize) -> i32;
    drop(ipsec(Task::Ctr, bits)?);
    let run: Streams = function(b"peer_ipsec_cbc_streams")?;
    Some(move |streams: &[*mut u8], bytes: usize| {
        // SAFETY: the caller's streams are writable for `bytes` bytes each.
        unsafe { run(streams.as_ptr(), streams.len(), bytes) };
    })
}

/// A buffer that starts at a cache line.
pub struct Buffer(Vec<u8>, usize, usize);

impl Buffer {
    /// Of so many bytes.
    pub fn new(bytes: usize) -> Buffer {
        let memory = vec![7; bytes + 4096];
        let start = memory.as_ptr().align_offset(4096);
        Buffer(memory, start, bytes)
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.0[self.1..self.1 + self.2]
    }
}
