//! The filter graph: the facts and the plan come in, one of ffmpeg's filter descriptions goes out.
//!
//! Every frame's time is replaced by the number of wanted times before it. What `fps=1` then gives
//! as its frame N is the last frame with a number of N or less: the one on screen at the N-th
//! wanted time, repeated or left out as needed, up to the end of the last frame. Everything that
//! costs comes after that.

use super::facts::{Orientation, Video};
use super::times::Plan;

/// From this height on, untagged colours are high definition's: the rule that players go by.
const HIGH_DEFINITION_LINES: u32 = 720;

/// How the reading began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Begin {
    /// At the first frame, which stands for all times before it too.
    Start,
    /// Somewhere before the wanted time. What comes before a key frame may be damaged, and a frame
    /// that begins too late is not the one on screen: better none.
    Middle,
}

/// The whole description. A frame that ffmpeg says is at T is at T + `shift` seconds in the film.
pub(super) fn describe(video: &Video, plan: &Plan, shift: f64, begin: Begin) -> String {
    let (before, after) = match begin {
        Begin::Start => ("", "fps=1:start_time=0".to_owned()),
        Begin::Middle => {
            let last = plan.wanted.len();
            (
                "select='if(key,st(0,1));ld(0)',",
                format!("fps=1,trim=end_pts={last}"),
            )
        }
    };
    let number = plan.expression(shift);
    // The matrix of a tagged film is its own; a range is always its own.
    let matrix = match (video.colours_tagged, video.height >= HIGH_DEFINITION_LINES) {
        (true, _) => "auto",
        (false, true) => "bt709",
        (false, false) => "bt601",
    };
    let (width, height) = (video.square_width(), video.height);
    format!(
        "{before}settb=1/1000000,setpts='1000000*{number}',{after},\
         scale={width}:{height}:in_color_matrix={matrix}\
         :flags=bicubic+accurate_rnd+full_chroma_int,\
         format=rgb24{}",
        turn(video.orientation)
    )
}

/// After scaling, and on few frames: ffmpeg's own turning would break where a film changes its
/// size.
fn turn(orientation: Orientation) -> &'static str {
    match (
        orientation.transpose,
        orientation.mirror_x,
        orientation.mirror_y,
    ) {
        (false, false, false) => "",
        (false, true, false) => ",hflip",
        (false, false, true) => ",vflip",
        (false, true, true) => ",hflip,vflip",
        (true, false, false) => ",transpose=0",
        (true, true, false) => ",transpose=1",
        (true, false, true) => ",transpose=2",
        (true, true, true) => ",transpose=3",
    }
}
