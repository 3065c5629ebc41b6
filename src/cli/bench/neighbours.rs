//! What else one core has to do with every byte: hashing, and TLS.

use ciphermill_cipher::secret::Secret;
use ciphermill_cipher::{Encryptor, Mark, PartAt, cpu};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::{ContentType, ProtocolVersion, SupportedCipherSuite};

use super::lab::{Failed, KIB, Lab, MIB, Run, bar, row, said, section};
use crate::checksum::Algorithm;
use crate::fault::Result;
use crate::measure::report::{Bars, Chart, Section};
use crate::measure::turns;

const ABOUT: &str = "What one core does in a second of the work that comes with encryption, 1 MiB at a time out of the \
caches, beside AES-GCM. CRC-64/NVME is the checksum of parts by default, SHA-256 the other choice. TLS is the sealing \
and opening of records of 16 KiB (AES-256-GCM, TLS 1.3) as rustls does it with ring: what an https:// store costs on \
top of the cipher, each way. Opening works in place, so that a copy of each record is part of it.";

const RECORD_BYTES: usize = 16 * KIB;
const CIPHER: usize = 0;

type Named = (&'static str, Run<'static>);
type Ends = (Box<dyn MessageEncrypter>, Box<dyn MessageDecrypter>);

pub fn neighbours(lab: &Lab) -> Section {
    let mut section = section(
        "neighbours",
        "Beside the cipher: hashing and TLS, on one core",
        ABOUT,
    );
    let (names, taken): (Vec<_>, _) = match all() {
        Ok(all) => {
            let (names, runners) = all.into_iter().unzip();
            (names, turns::take(lab.pace, runners))
        }
        Err(why) => (Vec::new(), Err(why)),
    };
    let turns = match taken {
        Ok(turns) => turns,
        Err(why) => {
            section.warnings.push(format!("{why}."));
            return section;
        }
    };
    let mut bars = Bars {
        title: "GB/s on one core".into(),
        bars: Vec::new(),
    };
    for (index, name) in names.into_iter().enumerate() {
        let beside = (index != CIPHER).then_some(("AES-GCM", CIPHER));
        section.rows.push(row(lab, name, &turns, index, beside));
        bars.bars.push(bar("", name, turns.gb(index)));
    }
    section.chart = Some(Chart::Bars(bars));
    section.warn_of_scatter();
    section
}

fn all() -> Result<Vec<Named>, Failed> {
    let mut all = vec![("AES-GCM, 256 bits", gcm().map_err(said)?)];
    for (name, algorithm) in [
        ("CRC-64/NVME", Algorithm::Crc64Nvme),
        ("SHA-256", Algorithm::Sha256),
    ] {
        let text = vec![7; MIB];
        let hash = Run::new(MIB, move || {
            std::hint::black_box(algorithm.of(&text));
        });
        all.push((name, hash));
    }
    all.push(("TLS records, sealing", sealing()?));
    all.push(("TLS records, opening", opening()?));
    let (from, mut to) = (vec![7u8; MIB], vec![0u8; MIB]);
    let copy = Run::new(MIB, move || {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
    });
    all.push(("memcpy", copy));
    Ok(all)
}

fn gcm() -> Result<Run<'static>> {
    let cipher = Encryptor::gcm(cpu::best(), &Secret::random(32)?, &[3; 12])?;
    let at = PartAt {
        offset: 0,
        last: true,
    };
    let plain = vec![7; MIB];
    let mut out = vec![0; cipher.form().sealed_part_len(at, MIB)];
    Ok(Run::new(MIB, move || {
        let mark = cipher.encrypt(at, Mark::None, &plain, &mut out, |_| {});
        std::hint::black_box(cipher.finish(mark));
    }))
}

/// Both ends of a connection, past their handshake.
fn ends() -> Result<Ends, Failed> {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_256_GCM_SHA384 else {
        return Err("this TLS has no AES-256-GCM".into());
    };
    let ends = [0; 2].map(|_| (AeadKey::from([5; 32]), Iv::new([3; 12])));
    let [(seal_key, seal_iv), (open_key, open_iv)] = ends;
    let seal = suite.aead_alg.encrypter(seal_key, seal_iv);
    Ok((seal, suite.aead_alg.decrypter(open_key, open_iv)))
}

fn record(plain: &[u8]) -> OutboundPlainMessage<'_> {
    OutboundPlainMessage {
        typ: ContentType::ApplicationData,
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(plain),
    }
}

fn sealing() -> Result<Run<'static>, Failed> {
    let (mut seal, _) = ends()?;
    let text = vec![7; MIB];
    Ok(Run::timed(MIB, move || {
        let begun = std::time::Instant::now();
        for (number, plain) in (0..).zip(text.chunks(RECORD_BYTES)) {
            let sealed = seal.encrypt(record(plain), number);
            std::hint::black_box(sealed.map_err(|e| e.to_string())?);
        }
        Ok(begun.elapsed().as_secs_f64())
    }))
}

fn opening() -> Result<Run<'static>, Failed> {
    let (mut seal, mut open) = ends()?;
    let text = vec![7; MIB];
    let mut records = Vec::new();
    for (number, plain) in (0..).zip(text.chunks(RECORD_BYTES)) {
        let sealed = seal
            .encrypt(record(plain), number)
            .map_err(|e| e.to_string())?;
        // Without the header of five bytes.
        records.push(sealed.encode().split_off(5));
    }
    let mut scratch = vec![0; records.iter().map(Vec::len).max().unwrap_or(0)];
    Ok(Run::timed(MIB, move || {
        let begun = std::time::Instant::now();
        for (number, sealed) in (0..).zip(&records) {
            let scratch = &mut scratch[..sealed.len()];
            scratch.copy_from_slice(sealed);
            let (typ, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
            let message = InboundOpaqueMessage::new(typ, version, scratch);
            let opened = open.decrypt(message, number).map_err(|e| e.to_string())?;
            std::hint::black_box(opened.payload.len());
        }
        Ok(begun.elapsed().as_secs_f64())
    }))
}
