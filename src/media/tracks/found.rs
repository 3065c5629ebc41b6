//! Found: the caption helper's answer in the words of a job's result.

use ciphermill_captions::{Encoding, Format};

use super::{MadeCaptions, MadeTrack};
use crate::fault::Result;
use crate::job::event::{CaptionSourceResult, CueFault};
use crate::media::caption_helper::{Answer, Report};
use crate::media::unreadable;

/// The answer in the words of a result.
pub(super) fn told(
    answer: Answer,
    outputs: usize,
    mut results: Vec<CaptionSourceResult>,
    places: &[usize],
) -> Result<MadeCaptions> {
    if let Some(why) = answer.refused {
        return Err(unreadable(why));
    }
    for (place, report) in places.iter().zip(answer.sources) {
        if let Some(result) = results.get_mut(*place) {
            tell(result, report);
        }
    }
    let tracks = answer.tracks.into_iter().enumerate();
    let tracks = tracks.map(|(index, track)| MadeTrack {
        output: index % outputs.max(1),
        language: track
            .language
            .map_or("und".into(), |l| l.as_str().to_owned()),
        label: track.label,
        cues: track.cues as u64,
        text: track.text,
    });
    let tracks: Vec<_> = tracks.collect();
    if tracks.is_empty() {
        let why = results.iter().find_map(|result| result.fault.as_ref());
        let why = why.map_or("there are none in it", |fault| fault.message.as_str());
        return Err(unreadable(format!("no captions could be made: {why}")));
    }
    Ok(MadeCaptions {
        tracks,
        sources: results,
    })
}

fn tell(result: &mut CaptionSourceResult, report: Report) {
    match report {
        Report::Refused { why } => result.fault = Some((&unreadable(why)).into()),
        Report::Read {
            format,
            encoding,
            dropped,
            faults,
            all_faults,
            ..
        } => {
            let format = match format {
                Format::Srt => "srt",
                Format::Vtt => "webvtt",
                Format::Ttml => "ttml",
                Format::Scc => "scc",
            };
            result.format.get_or_insert(format.into());
            let encoding = match encoding {
                Encoding::Utf8 => "utf-8",
                Encoding::Utf8Damaged => "utf-8 with errors",
                Encoding::Utf16Le => "utf-16le",
                Encoding::Utf16Be => "utf-16be",
                Encoding::Latin1 => "latin-1",
            };
            result.encoding = Some(encoding.into());
            result.dropped_cues = dropped as u64;
            result.broken_cues = all_faults as u64;
            let faults = faults.into_iter().map(|fault| CueFault {
                number: fault.number as u64,
                line: fault.line as u64,
                what: fault.what,
            });
            result.broken = faults.collect();
        }
    }
}
