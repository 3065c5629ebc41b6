//! P13: within a job a key serves one mode, and no two plaintexts meet the same keystream.
//!
//! Checked on unwrapped keys: two references may well wrap the same key. Keys are compared by
//! fingerprint.

use ciphermill_cipher::Form;
use ciphermill_cipher::ctr::CounterStart;

use crate::fault::{Code, Fault, Result};

/// One use of a key in a job, input or output.
pub struct KeyUse {
    /// Where it stands in the job.
    pub pointer: String,
    /// SHA-256 of the key bytes.
    pub fingerprint: [u8; 32],
    /// What it is used for.
    pub form: Form,
    /// CTR: the first counter block. GCM: the IV. Nothing for CBC and cobblestone.
    pub stream: Stream,
}

/// What picks the keystream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// No keystream to be shared: CBC, and cobblestone, whose salt makes a key of its own.
    None,
    /// Counter blocks from here, for this many bytes.
    Counter(CounterStart, u64),
    /// A GCM IV.
    Iv(Vec<u8>),
}

/// Refuses the later of two uses that do not go together.
pub fn check(uses: &[KeyUse]) -> Result<()> {
    for (index, later) in uses.iter().enumerate() {
        for earlier in &uses[..index] {
            if earlier.fingerprint == later.fingerprint {
                check_pair(earlier, later)?;
            }
        }
    }
    Ok(())
}

fn check_pair(earlier: &KeyUse, later: &KeyUse) -> Result<()> {
    let refuse = |code, what: &str| {
        let message = format!("{what} as {}", earlier.pointer);
        Err(Fault::new(code, message).at(&later.pointer))
    };
    if earlier.form != later.form {
        return refuse(Code::KeyReuse, "this is the same key, in another mode,");
    }
    match (&earlier.stream, &later.stream) {
        (Stream::Counter(a, a_bytes), Stream::Counter(b, b_bytes))
            if overlap(*a, *a_bytes, *b, *b_bytes) =>
        {
            refuse(
                Code::KeystreamReuse,
                "this counts through the same blocks under the same key",
            )
        }
        (Stream::Iv(a), Stream::Iv(b)) if a == b => {
            refuse(Code::KeystreamReuse, "this is the same key and iv")
        }
        _ => Ok(()),
    }
}

/// Whether two ranges of counter blocks meet, modulo 2^128.
fn overlap(a: CounterStart, a_bytes: u64, b: CounterStart, b_bytes: u64) -> bool {
    let blocks = |bytes: u64| u128::from(bytes.div_ceil(16));
    let distance = b.number().wrapping_sub(a.number());
    let back = a.number().wrapping_sub(b.number());
    let both_hold_bytes = a_bytes > 0 && b_bytes > 0;
    both_hold_bytes && (distance < blocks(a_bytes) || back < blocks(b_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(number: u128) -> CounterStart {
        CounterStart::from_block(number.to_be_bytes())
    }

    fn key_use(form: Form, stream: Stream) -> KeyUse {
        KeyUse {
            pointer: format!("/{form:?}"),
            fingerprint: [1; 32],
            form,
            stream,
        }
    }

    fn refusal(a: KeyUse, b: KeyUse) -> Option<Code> {
        check(&[a, b]).err().map(|fault| fault.code)
    }

    #[test]
    fn overlapping_counters_are_refused_also_around_zero() {
        let cases = [
            (0, 160, 10, 160, false),
            (0, 161, 10, 160, true),
            (10, 160, 0, 160, false),
            (10, 160, 0, 161, true),
            (5, 16, 5, 16, true),
            (5, 0, 5, 16, false),
            (u128::MAX, 32, 0, 16, true),
            (u128::MAX, 16, 0, 16, false),
            (0, 16, u128::MAX, 32, true),
        ];
        for (a, a_bytes, b, b_bytes, expected) in cases {
            assert_eq!(
                overlap(start(a), a_bytes, start(b), b_bytes),
                expected,
                "{a} {a_bytes} {b} {b_bytes}"
            );
        }
    }

    #[test]
    fn one_key_serves_one_mode_and_one_iv() {
        let ctr = || key_use(Form::Ctr, Stream::Counter(start(0), 16));
        let gcm = |iv: u8| key_use(Form::Gcm, Stream::Iv(vec![iv; 12]));
        assert_eq!(
            refusal(ctr(), key_use(Form::Cbc, Stream::None)),
            Some(Code::KeyReuse)
        );
        assert_eq!(refusal(ctr(), ctr()), Some(Code::KeystreamReuse));
        assert_eq!(refusal(gcm(1), gcm(1)), Some(Code::KeystreamReuse));
        assert_eq!(refusal(gcm(1), gcm(2)), None);
        let other = KeyUse {
            fingerprint: [2; 32],
            ..gcm(1)
        };
        assert_eq!(refusal(gcm(1), other), None);
    }
}
