//! The kernel for AVX-512 with VAES and VPCLMULQDQ: four blocks in a register (Ice Lake, Zen 4 and
//! later). The algorithms stand in `vaes`; here are the register and the proof.

use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::Kernel;
use super::vaes::{Isa, Task, Vaes, Wide};
use crate::Block;

/// Proof that this CPU has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// The kernel, where the CPU can run it.
pub(super) fn kernel() -> Option<&'static dyn Kernel> {
    static KERNEL: OnceLock<Option<Vaes<Avx512>>> = OnceLock::new();
    let kernel = KERNEL.get_or_init(|| Avx512::detect().map(Vaes));
    kernel.as_ref().map(|kernel| kernel as &dyn Kernel)
}

impl Avx512 {
    fn detect() -> Option<Avx512> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq");
        has.then_some(Avx512(()))
    }
}

impl Isa for Avx512 {
    type Wide = Zmm;
    const NAME: &'static str = "vaes512";

    fn run<T: Task<Self>>(self, task: T) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
        fn compiled<T: Task<Avx512>>(isa: Avx512, task: T) {
            task.go(isa);
        }
        // SAFETY: `self` is the proof that the CPU has these features.
        unsafe { compiled(self, task) }
    }
}

/// Four blocks. Made from the proof only, so that whoever has one runs on such a CPU.
#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512i);

/// Operations that are one instruction over registers.
macro_rules! operations {
    ($($name:ident($($other:ident),*) = $instruction:ident $(($last:expr))?;)+) => {$(
        #[inline(always)]
        fn $name(self, $($other: Self),*) -> Self {
            // SAFETY: a register of this type exists only where the CPU has its instructions.
            Zmm(unsafe { $instruction(self.0 $(, $other.0)* $(, $last)?) })
        }
    )+};
}

impl Wide for Zmm {
    type Isa = Avx512;
    const BLOCKS: usize = 4;

    #[inline(always)]
    fn broadcast(_: Avx512, block: &Block) -> Self {
        // SAFETY: the proof was given, and a block is 16 bytes.
        Zmm(unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(block.as_ptr().cast())) })
    }

    #[inline(always)]
    unsafe fn load(_: Avx512, from: *const u8) -> Self {
        // SAFETY: the proof was given; the caller promises the bytes.
        Zmm(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_part(_: Avx512, from: *const u8, bytes: usize) -> Self {
        // SAFETY: the proof was given; masked bytes are not touched.
        Zmm(unsafe { _mm512_maskz_loadu_epi8((1 << bytes) - 1, from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the register proves the CPU; the caller promises the bytes.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut u8, bytes: usize) {
        // SAFETY: the register proves the CPU; masked bytes are not touched.
        unsafe { _mm512_mask_storeu_epi8(to.cast(), (1 << bytes) - 1, self.0) }
    }

    operations! {
        xor(other) = _mm512_xor_si512;
        enc(key) = _mm512_aesenc_epi128;
        enc_last(key) = _mm512_aesenclast_epi128;
        dec(key) = _mm512_aesdec_epi128;
        dec_last(key) = _mm512_aesdeclast_epi128;
        add32(other) = _mm512_add_epi32;
        add64(other) = _mm512_add_epi64;
        reversed() = _mm512_shuffle_epi8(reverse());
    }

    #[inline(always)]
    fn swapped(self) -> Self {
        // SAFETY: the register proves the CPU.
        Zmm(unsafe { _mm512_shuffle_epi32::<0b01_00_11_10>(self.0) })
    }

    #[inline(always)]
    fn clmul<const HALVES: i32>(self, other: Self) -> Self {
        // SAFETY: the register proves the CPU.
        Zmm(unsafe { _mm512_clmulepi64_epi128::<HALVES>(self.0, other.0) })
    }

    #[inline(always)]
    fn after(self, before: Self) -> Self {
        // SAFETY: the register proves the CPU.
        Zmm(unsafe { _mm512_alignr_epi64::<6>(self.0, before.0) })
    }

    #[inline(always)]
    fn folded(self) -> Self {
        // SAFETY: the register proves the CPU.
        unsafe {
            let high = _mm512_extracti64x4_epi64::<1>(self.0);
            let sum = _mm256_xor_si256(_mm512_castsi512_si256(self.0), high);
            let high = _mm256_extracti128_si256::<1>(sum);
            let sum = _mm_xor_si128(_mm256_castsi256_si128(sum), high);
            Zmm(_mm512_zextsi128_si512(sum))
        }
    }

    #[inline(always)]
    fn held(self) -> Self {
        // SAFETY: the register proves the CPU.
        Zmm(unsafe { held(self.0) })
    }

    #[inline(always)]
    fn prefetch(_: Avx512, from: *const u8) {
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    #[inline(always)]
    fn transposed([Zmm(a), Zmm(b), Zmm(c), Zmm(d)]: [Self; 4]) -> [Self; 4] {
        // SAFETY: the registers prove the CPU.
        unsafe {
            let (low_ab, low_cd) = (pairs::<0b01_00_01_00>(a, b), pairs::<0b01_00_01_00>(c, d));
            let (high_ab, high_cd) = (pairs::<0b11_10_11_10>(a, b), pairs::<0b11_10_11_10>(c, d));
            [
                Zmm(pairs::<0b10_00_10_00>(low_ab, low_cd)),
                Zmm(pairs::<0b11_01_11_01>(low_ab, low_cd)),
                Zmm(pairs::<0b10_00_10_00>(high_ab, high_cd)),
                Zmm(pairs::<0b11_01_11_01>(high_ab, high_cd)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn gather(_: Avx512, from: &[*const u8], offset: usize) -> Self {
        // A masked broadcast goes through no shuffle unit, unlike an insertion.
        // SAFETY: the proof was given; the caller promises the places.
        unsafe {
            let block = |lane: usize| _mm_loadu_si128(from[lane].add(offset).cast());
            let low = _mm256_set_m128i(block(1), block(0));
            let high = _mm256_set_m128i(block(3), block(2));
            Zmm(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
        }
    }

    #[inline(always)]
    unsafe fn scatter(self, to: &[*mut u8], offset: usize) {
        // SAFETY: the register proves the CPU; the caller promises the places.
        unsafe {
            let place = |lane: usize| to[lane].add(offset).cast();
            let (low, high) = (
                _mm512_castsi512_si256(self.0),
                _mm512_extracti64x4_epi64::<1>(self.0),
            );
            _mm_storeu_si128(place(0), _mm256_castsi256_si128(low));
            _mm_storeu_si128(place(1), _mm256_extracti128_si256::<1>(low));
            _mm_storeu_si128(place(2), _mm256_castsi256_si128(high));
            _mm_storeu_si128(place(3), _mm256_extracti128_si256::<1>(high));
        }
    }
}

/// Two blocks of each register, picked by `BLOCKS`.
#[inline]
#[target_feature(enable = "avx512f")]
fn pairs<const BLOCKS: i32>(a: __m512i, b: __m512i) -> __m512i {
    _mm512_shuffle_i32x4::<BLOCKS>(a, b)
}

/// An empty instruction that the compiler may not move.
#[inline]
#[target_feature(enable = "avx512f")]
fn held(register: __m512i) -> __m512i {
    let mut register = register;
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("/* {} */", inout(zmm_reg) register, options(nostack, preserves_flags))
    };
    register
}

#[inline]
#[target_feature(enable = "avx512f")]
fn reverse() -> __m512i {
    _mm512_broadcast_i32x4(_mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f))
}
