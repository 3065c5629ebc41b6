//! The ciphers that the flags describe.

use ciphermill_cipher::cobblestone::{HEADER_BYTES, Salt};
use ciphermill_cipher::ctr::CounterStart;
use ciphermill_cipher::secret::{self, Secret};
use ciphermill_cipher::{Decryptor, Encryptor, block, cpu};

use super::Options;
use super::pieces::Reader;
use crate::fault::{Code, Fault, Result};
use crate::job::Mode;

/// The cipher, and the IV if the user has to keep it.
pub(super) fn encryptor(
    options: &Options,
    key: &Secret,
    iv: Option<Vec<u8>>,
    context: &[u8],
) -> Result<(Encryptor, Option<Vec<u8>>)> {
    let kernel = cpu::best();
    if options.mode == Mode::Cobblestone {
        refuse_iv(iv.as_deref())?;
        return Ok((
            Encryptor::cobblestone(kernel, key, Salt::random()?, context)?,
            None,
        ));
    }
    let iv = match (iv, options.mode) {
        (Some(iv), _) => iv,
        (None, Mode::AesGcm) => secret::random_array::<12>()?.to_vec(),
        (None, _) => secret::random_array::<16>()?.to_vec(),
    };
    let encryptor = match options.mode {
        Mode::AesCtr => Encryptor::ctr(
            kernel,
            key,
            CounterStart::from_iv(&iv, options.ctr_start).map_err(|e| Fault::from(e).at("--iv"))?,
        )?,
        Mode::AesCbcPkcs7 => Encryptor::cbc(
            kernel,
            key,
            block(&iv).map_err(|e| Fault::from(e).at("--iv"))?,
        )?,
        _ => Encryptor::gcm(kernel, key, gcm_iv(&iv)?)?,
    };
    Ok((encryptor, Some(iv)))
}

/// The cipher of an input, which for cobblestone begins with its header.
pub(super) async fn decryptor(
    input: &mut Reader,
    options: &Options,
    key: &Secret,
    iv: Option<Vec<u8>>,
    context: &[u8],
) -> Result<Decryptor> {
    let kernel = cpu::best();
    if options.mode == Mode::Cobblestone {
        refuse_iv(iv.as_deref())?;
        let header = input
            .header::<HEADER_BYTES>()
            .await?
            .ok_or(ciphermill_cipher::Error::DecryptFailed)?;
        return Ok(Decryptor::cobblestone(kernel, key, &header, context)?);
    }
    let missing = || {
        Fault::new(
            Code::Usage,
            format!("{} needs its iv", options.mode.as_str()),
        )
        .at("--iv")
    };
    let iv = iv.ok_or_else(missing)?;
    Ok(match options.mode {
        Mode::AesCtr => Decryptor::ctr(
            kernel,
            key,
            CounterStart::from_iv(&iv, options.ctr_start).map_err(|e| Fault::from(e).at("--iv"))?,
        ),
        Mode::AesCbcPkcs7 => Decryptor::cbc(
            kernel,
            key,
            block(&iv).map_err(|e| Fault::from(e).at("--iv"))?,
        ),
        _ => Decryptor::gcm(kernel, key, gcm_iv(&iv)?),
    }?)
}

fn refuse_iv(iv: Option<&[u8]>) -> Result<()> {
    if iv.is_none() {
        return Ok(());
    }
    Err(Fault::new(
        Code::InvalidIvLength,
        "cobblestone takes no iv: its salt stands in its header",
    )
    .at("--iv"))
}

fn gcm_iv(iv: &[u8]) -> Result<&[u8]> {
    let wrong = || {
        Fault::new(
            Code::InvalidIvLength,
            format!("expected 12 or 16 bytes, got {}", iv.len()),
        )
        .at("--iv")
    };
    if matches!(iv.len(), 12 | 16) {
        Ok(iv)
    } else {
        Err(wrong())
    }
}
