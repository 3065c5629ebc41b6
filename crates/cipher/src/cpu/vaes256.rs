//! The kernel for AVX2 with VAES and VPCLMULQDQ: two blocks in a register (CPUs without AVX-512,
//! such as Alder Lake and Zen 3). The algorithms stand in `vaes`; here are the register and the
//! proof.

use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::Kernel;
use super::vaes::{Isa, Task, Vaes, Wide};
use crate::Block;

/// Proof that this CPU has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// The kernel, where the CPU can run it.
pub(super) fn kernel() -> Option<&'static dyn Kernel> {
    static KERNEL: OnceLock<Option<Vaes<Avx2>>> = OnceLock::new();
    let kernel = KERNEL.get_or_init(|| Avx2::detect().map(Vaes));
    kernel.as_ref().map(|kernel| kernel as &dyn Kernel)
}

impl Avx2 {
    fn detect() -> Option<Avx2> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq");
        has.then_some(Avx2(()))
    }
}

impl Isa for Avx2 {
    type Wide = Ymm;
    const NAME: &'static str = "vaes256";

    fn run<T: Task<Self>>(self, task: T) {
        #[target_feature(enable = "avx2,vaes,vpclmulqdq")]
        fn compiled<T: Task<Avx2>>(isa: Avx2, task: T) {
            task.go(isa);
        }
        // SAFETY: `self` is the proof that the CPU has these features.
        unsafe { compiled(self, task) }
    }
}

/// Two blocks. Made from the proof only, so that whoever has one runs on such a CPU.
#[derive(Clone, Copy)]
pub(super) struct Ymm(__m256i);

/// Operations that are one instruction over registers.
macro_rules! operations {
    ($($name:ident($($other:ident),*) = $instruction:ident $(($last:expr))?;)+) => {$(
        #[inline(always)]
        fn $name(self, $($other: Self),*) -> Self {
            // SAFETY: a register of this type exists only where the CPU has its instructions.
            Ymm(unsafe { $instruction(self.0 $(, $other.0)* $(, $last)?) })
        }
    )+};
}

impl Wide for Ymm {
    type Isa = Avx2;
    const BLOCKS: usize = 2;

    #[inline(always)]
    fn broadcast(_: Avx2, block: &Block) -> Self {
        // SAFETY: the proof was given, and a block is 16 bytes.
        Ymm(unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(block.as_ptr().cast())) })
    }

    #[inline(always)]
    unsafe fn load(_: Avx2, from: *const u8) -> Self {
        // SAFETY: the proof was given; the caller promises the bytes.
        Ymm(unsafe { _mm256_loadu_si256(from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_part(isa: Avx2, from: *const u8, bytes: usize) -> Self {
        if bytes == 16 {
            // SAFETY: the proof was given; the caller promises the bytes.
            return Ymm(unsafe { _mm256_zextsi128_si256(_mm_loadu_si128(from.cast())) });
        }
        let mut whole = [0; 32];
        // SAFETY: the caller promises the bytes, fewer than 32; then the whole is read.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), bytes);
            Self::load(isa, whole.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the register proves the CPU; the caller promises the bytes.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut u8, bytes: usize) {
        if bytes == 16 {
            // SAFETY: the register proves the CPU; the caller promises the bytes.
            return unsafe { _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(self.0)) };
        }
        let mut whole = [0; 32];
        // SAFETY: the whole is written; the caller promises the bytes, fewer than 32.
        unsafe {
            self.store(whole.as_mut_ptr());
            std::ptr::copy_nonoverlapping(whole.as_ptr(), to, bytes);
        }
    }

    operations! {
        xor(other) = _mm256_xor_si256;
        enc(key) = _mm256_aesenc_epi128;
        enc_last(key) = _mm256_aesenclast_epi128;
        dec(key) = _mm256_aesdec_epi128;
        dec_last(key) = _mm256_aesdeclast_epi128;
        add32(other) = _mm256_add_epi32;
        add64(other) = _mm256_add_epi64;
        reversed() = _mm256_shuffle_epi8(reverse());
    }

    #[inline(always)]
    fn swapped(self) -> Self {
        // SAFETY: the register proves the CPU.
        Ymm(unsafe { _mm256_shuffle_epi32::<0b01_00_11_10>(self.0) })
    }

    #[inline(always)]
    fn clmul<const HALVES: i32>(self, other: Self) -> Self {
        // SAFETY: the register proves the CPU.
        Ymm(unsafe { _mm256_clmulepi64_epi128::<HALVES>(self.0, other.0) })
    }

    #[inline(always)]
    fn after(self, before: Self) -> Self {
        // SAFETY: the register proves the CPU.
        Ymm(unsafe { _mm256_permute2x128_si256::<0x21>(before.0, self.0) })
    }

    #[inline(always)]
    fn folded(self) -> Self {
        // SAFETY: the register proves the CPU.
        unsafe {
            let high = _mm256_extracti128_si256::<1>(self.0);
            let sum = _mm_xor_si128(_mm256_castsi256_si128(self.0), high);
            Ymm(_mm256_zextsi128_si256(sum))
        }
    }

    #[inline(always)]
    fn held(self) -> Self {
        // SAFETY: the register proves the CPU.
        Ymm(unsafe { held(self.0) })
    }

    #[inline(always)]
    fn prefetch(_: Avx2, from: *const u8) {
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    #[inline(always)]
    fn transposed([Ymm(a), Ymm(b), c, d]: [Self; 4]) -> [Self; 4] {
        // SAFETY: the registers prove the CPU.
        unsafe {
            let first = _mm256_permute2x128_si256::<0x20>(a, b);
            let second = _mm256_permute2x128_si256::<0x31>(a, b);
            [Ymm(first), Ymm(second), c, d]
        }
    }

    #[inline(always)]
    unsafe fn gather(_: Avx2, from: &[*const u8], offset: usize) -> Self {
        // SAFETY: the proof was given; the caller promises the places.
        unsafe {
            let block = |lane: usize| _mm_loadu_si128(from[lane].add(offset).cast());
            Ymm(_mm256_set_m128i(block(1), block(0)))
        }
    }

    #[inline(always)]
    unsafe fn scatter(self, to: &[*mut u8], offset: usize) {
        // SAFETY: the register proves the CPU; the caller promises the places.
        unsafe {
            let place = |lane: usize| to[lane].add(offset).cast();
            _mm_storeu_si128(place(0), _mm256_castsi256_si128(self.0));
            _mm_storeu_si128(place(1), _mm256_extracti128_si256::<1>(self.0));
        }
    }
}

/// An empty instruction that the compiler may not move.
#[inline]
#[target_feature(enable = "avx2")]
fn held(register: __m256i) -> __m256i {
    let mut register = register;
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("/* {} */", inout(ymm_reg) register, options(nostack, preserves_flags))
    };
    register
}

#[inline]
#[target_feature(enable = "avx2")]
fn reverse() -> __m256i {
    _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f))
}
