//! `ciphermill encrypt` and `decrypt`: one file, or standard input and output, without a job.
//!
//! Parts run through the same engine as a worker's. OUT appears by rename, mode 0600; a failed run
//! leaves none. Plaintext of an authenticated mode goes to standard output only where every chunk
//! is verified by itself.

mod ciphers;
mod out;
mod pieces;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ciphermill_cipher::secret::Secret;
use ciphermill_cipher::{Encryptor, Form, Mark, PartAt, TAG_BYTES, gcm};
use clap::{Args, ValueEnum};
use futures_util::stream::{StreamExt, TryStreamExt};
use serde_json::json;

use self::ciphers::{decryptor, encryptor};
use self::out::Out;
use self::pieces::{Piece, Reader};
use super::keys::read_key;
use super::{show, start};
use crate::buffers::{Pool, Reservation};
use crate::checksum::Algorithm;
use crate::engine::{self, Engine, Plaintext, Setup};
use crate::fault::{Code, Fault, Result};
use crate::job::Mode;

/// Plaintext bytes of one part.
const PART_BYTES: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Encrypt,
    Decrypt,
}

#[derive(Debug, Args)]
#[command(after_help = "\
IN and OUT can be - for standard input and output. aes-gcm cannot be decrypted to standard output: its tag stands at
the end. Without --iv, encrypt makes a random one and prints it. cobblestone needs none: its salt stands in its header.

Example:
  head -c 32 /dev/urandom > key
  ciphermill encrypt --mode cobblestone --key-file key film.mp4 film.mp4.cob
  ciphermill decrypt --mode cobblestone --key-file key film.mp4.cob - | ffprobe -")]
pub struct Options {
    /// aes-ctr, aes-cbc-pkcs7, aes-gcm or cobblestone
    #[arg(long, value_parser = mode)]
    mode: Mode,
    /// File with the raw key: 16, 24 or 32 bytes
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The iv: 16 bytes in hex (12 or 16 for aes-ctr and aes-gcm)
    #[arg(long, value_name = "HEX")]
    iv: Option<String>,
    /// First value of the 32-bit counter after a 12-byte aes-ctr iv
    #[arg(long, value_name = "0|1", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1))]
    ctr_start: u32,
    /// Context bytes of cobblestone, in hex
    #[arg(long, value_name = "HEX")]
    context: Option<String>,
    /// What ciphers
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    engine: Choice,
    /// What is read
    r#in: PathBuf,
    /// What is written
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// The fastest there is
    Auto,
    /// The CPU
    Cpu,
    /// The GPU, for all that it can do
    Gpu,
}

impl From<Choice> for engine::Choice {
    fn from(choice: Choice) -> engine::Choice {
        match choice {
            Choice::Auto => engine::Choice::Auto,
            Choice::Cpu => engine::Choice::Cpu,
            Choice::Gpu => engine::Choice::Gpu,
        }
    }
}

fn mode(text: &str) -> std::result::Result<Mode, String> {
    let names = Mode::ALL.map(Mode::as_str).join(", ");
    Mode::from_name(text).ok_or_else(|| format!("expected one of {names}"))
}

impl Options {
    /// Most plaintext bytes under one key and IV: GCM's own limit, and the end of a 32-bit counter.
    fn most_bytes(&self) -> u64 {
        let short_iv = self.iv.as_ref().is_some_and(|iv| iv.len() == 24);
        match self.mode {
            Mode::AesGcm => gcm::MAX_BYTES,
            Mode::AesCtr if short_iv => (16 << 32) - 16 * u64::from(self.ctr_start),
            _ => u64::MAX,
        }
    }
}

fn check_length(piece: &Piece, most_bytes: u64) -> Result<()> {
    let end = piece.at.offset + (piece.buffer.len() as u64).min(PART_BYTES as u64);
    if end <= most_bytes {
        return Ok(());
    }
    let message =
        format!("the input is longer than the {most_bytes} bytes that one key and iv can take");
    Err(Fault::new(Code::CounterWrap, message))
}

/// What a run needs, besides its ciphers.
struct Run {
    engine: Arc<dyn Engine>,
    reservation: Arc<Reservation>,
    lanes: usize,
    out: Out,
}

pub async fn run(options: Options, direction: Direction, json: bool) -> Result<ExitCode> {
    let key = read_key(&options.key_file)?;
    let iv = options
        .iv
        .as_deref()
        .map(|text| bytes_of("--iv", text))
        .transpose()?;
    let context = options
        .context
        .as_deref()
        .map(|text| bytes_of("--context", text))
        .transpose()?
        .unwrap_or_default();
    if direction == Direction::Decrypt
        && options.mode == Mode::AesGcm
        && options.out.as_os_str() == "-"
    {
        let message = "aes-gcm cannot be decrypted to standard output: nothing is released before its tag is verified";
        return Err(Fault::new(Code::Usage, message).at("OUT"));
    }
    let started = std::time::Instant::now();
    let lanes = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let cost = Pool::cost_bytes(Form::buffer_bytes(PART_BYTES as u64));
    let reservation = Pool::new(cost * 2 * (lanes + 2))
        .reserve(cost * 2 * (lanes + 2))
        .await?;
    // IN first: a run that cannot begin leaves nothing of OUT.
    let input = Reader::open(&options.r#in).await?;
    let out = Out::open(&options.out).await?;
    let run = Run {
        engine: engine::start(&Setup {
            choice: options.engine.into(),
            ..Setup::default()
        })
        .map_err(|fault| fault.at("--engine"))?,
        reservation,
        lanes,
        out,
    };
    let moving = async {
        match direction {
            Direction::Encrypt => {
                let (encryptor, iv) = encryptor(&options, &key, iv, &context)?;
                Ok((run.encrypt(input, encryptor, &options).await?, iv))
            }
            Direction::Decrypt => Ok((
                run.decrypt(input, &options, &key, iv, &context).await?,
                None,
            )),
        }
    };
    let moved = tokio::select! {
        moved = moving => moved,
        fault = start::interrupted() => Err(fault),
    };
    let (bytes, iv) = run.out.end(moved).await?;
    let seconds = started.elapsed().as_secs_f64();
    tell(&options, iv.as_deref(), bytes, seconds, json);
    Ok(ExitCode::SUCCESS)
}

fn tell(options: &Options, iv: Option<&[u8]>, bytes: u64, seconds: f64, json: bool) {
    let iv = iv.map(hex::encode);
    let to_stdout = options.out.as_os_str() == "-";
    if json && !to_stdout {
        show::line(
            &json!({ "mode": options.mode.as_str(), "iv": iv, "bytes": bytes, "seconds": seconds }),
        );
        return;
    }
    match iv {
        Some(iv) if to_stdout => eprintln!("iv {iv}"),
        Some(iv) => show::text(&format!("iv {iv}")),
        None => {}
    }
    if !to_stdout {
        eprintln!(
            "{} in {seconds:.2} s ({})",
            show::size(bytes),
            show::rate(bytes, seconds)
        );
    }
}

impl Run {
    async fn encrypt(&self, input: Reader, encryptor: Encryptor, options: &Options) -> Result<u64> {
        let encryptor = Arc::new(encryptor);
        let pieces = input.pieces(Form::Plain, PART_BYTES, Arc::clone(&self.reservation));
        let limit = options.most_bytes();
        let serial = encryptor.is_serial();
        let work = pieces.map(|piece| async {
            let piece = piece?;
            check_length(&piece, limit)?;
            let range = (0, piece.buffer.len());
            let plain = Plaintext {
                part: Arc::new(piece.buffer),
                range,
            };
            let at = piece.at;
            let sealed = if serial {
                None
            } else {
                Some(self.seal(&encryptor, at, Mark::None, &plain).await?)
            };
            Ok::<_, Fault>((at, plain, sealed))
        });
        let mut sealed = Box::pin(work.buffered(self.lanes));
        let (mut mark, mut bytes, mut offset, mut number) = (Mark::None, 0, 0, 0);
        while let Some((at, plain, done)) = sealed.try_next().await? {
            let done = match done {
                Some(done) => done,
                None => self.seal(&encryptor, at, mark, &plain).await?,
            };
            mark = encryptor.fold(mark, done.mark);
            let mut out = done.out;
            if let (true, Some(tag)) = (at.last, encryptor.finish(mark)) {
                let end = out.len() - TAG_BYTES;
                out[end..].copy_from_slice(&tag);
            }
            bytes += plain.bytes().len() as u64;
            number += 1;
            let length = out.len() as u64;
            self.out.write(number, offset, out, None).await?;
            offset += length;
        }
        Ok(bytes)
    }

    async fn seal(
        &self,
        encryptor: &Arc<Encryptor>,
        at: PartAt,
        before: Mark,
        plain: &Plaintext,
    ) -> Result<engine::Encrypted> {
        let out = self
            .reservation
            .buffer(Form::buffer_bytes(PART_BYTES as u64));
        let cipher = Arc::clone(encryptor);
        engine::encrypt(
            self.engine.as_ref(),
            cipher,
            at,
            before,
            (plain.clone(), out),
            Algorithm::Crc64Nvme,
        )
        .await
    }

    async fn decrypt(
        &self,
        mut input: Reader,
        options: &Options,
        key: &Secret,
        iv: Option<Vec<u8>>,
        context: &[u8],
    ) -> Result<u64> {
        let decryptor = Arc::new(decryptor(&mut input, options, key, iv, context).await?);
        let pieces = input.pieces(decryptor.form(), PART_BYTES, Arc::clone(&self.reservation));
        let limit = options.most_bytes();
        let work = pieces.map(|piece| async {
            let piece = piece?;
            check_length(&piece, limit)?;
            let Piece { at, buffer } = piece;
            let (buffer, opened) =
                engine::decrypt(self.engine.as_ref(), Arc::clone(&decryptor), at, buffer).await?;
            Ok::<_, Fault>((at, buffer, opened))
        });
        let mut opened = Box::pin(work.buffered(self.lanes));
        let (mut mark, mut bytes, mut number) = (Mark::None, 0, 0);
        while let Some((at, buffer, part)) = opened.try_next().await? {
            mark = decryptor.fold(mark, part.mark);
            if at.last {
                decryptor.verify(mark, part.tag)?;
            }
            number += 1;
            let length = part.plain.len() as u64;
            self.out
                .write(number, bytes, buffer, Some(part.plain))
                .await?;
            bytes += length;
        }
        Ok(bytes)
    }
}

fn bytes_of(flag: &str, text: &str) -> Result<Vec<u8>> {
    hex::decode(text).map_err(|e| Fault::new(Code::Usage, format!("expected hex: {e}")).at(flag))
}
