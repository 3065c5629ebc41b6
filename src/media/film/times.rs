//! The wanted times: what was asked for comes in, a list in ascending order goes out, and the same
//! as an expression that ffmpeg can evaluate.

use super::{Failure, Kind, Result};

/// A frame counts as on screen this long before its time: far below any time base, far above the
/// rounding of sums.
const TOLERANCE_SECONDS: f64 = 1e-6;
/// A finer interval is a mistake.
const LEAST_INTERVAL_SECONDS: f64 = 0.001;
/// So many single times fit into one argument of a program.
const MOST_SINGLE: usize = 2000;

/// Which frames are wanted. The frame of a time is the one on screen then: the last that begins at
/// or before it, or the first of all.
#[derive(Clone, Debug, PartialEq)]
pub enum Times {
    /// At 0 and every so many seconds until the end of the last frame.
    Every(f64),
    /// At these seconds, in any order, at most 2000. There is none after the end.
    At(Vec<f64>),
    /// So many, each in the middle of its equal share of the film: neither the first frame, which
    /// is often black, nor the very end, which may not be there.
    Count(usize),
}

/// A wanted frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Its place in what was asked for, from 0.
    pub index: usize,
    /// Its time, in seconds from the film's start.
    pub seconds: f64,
}

/// What is wanted of one film.
#[derive(Debug)]
pub(super) struct Plan {
    /// In ascending order of time.
    pub(super) wanted: Vec<Frame>,
    /// First time and step, where the times are evenly spaced.
    pub(super) even: Option<(f64, f64)>,
}

impl Times {
    /// The wanted times before `end` (seconds), at most `most`; as many as that where the end is
    /// not known and the times have none of their own.
    pub(super) fn plan(&self, end: Option<f64>, most: usize) -> Result<Plan> {
        let refused = |why| Err(Failure::new(Kind::Refused, why));
        match self {
            Times::Every(step) if !step.is_finite() || *step < LEAST_INTERVAL_SECONDS => {
                refused("an interval must be at least a millisecond")
            }
            Times::At(list) if list.len() > MOST_SINGLE || list.iter().any(|t| !t.is_finite()) => {
                refused("more than 2000 times, or one that is no number")
            }
            Times::Every(step) => {
                let count =
                    end.map_or(most as f64, |end| ((end - TOLERANCE_SECONDS) / step).ceil());
                Plan::even(0.0, *step, count.max(1.0), most)
            }
            Times::Count(count) => {
                let Some(end) = end else {
                    let why = "the film does not say how long it is";
                    return Err(Failure::new(Kind::Broken, why));
                };
                let step = end / (*count).max(1) as f64;
                Plan::even(step / 2.0, step, *count as f64, most)
            }
            Times::At(list) => {
                let frames = list.iter().enumerate();
                let mut wanted: Vec<_> = frames
                    .map(|(index, seconds)| Frame {
                        index,
                        seconds: *seconds,
                    })
                    .collect();
                wanted.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
                Ok(Plan { wanted, even: None })
            }
        }
    }
}

impl Plan {
    fn even(first: f64, step: f64, count: f64, most: usize) -> Result<Plan> {
        if count > most as f64 {
            let why = format!("{count} frames are more than {most}");
            return Err(Failure::new(Kind::TooLarge, why));
        }
        let frame = |index| Frame {
            index,
            seconds: first + step * index as f64,
        };
        let wanted = (0..count as usize).map(frame).collect();
        Ok(Plan {
            wanted,
            even: Some((first, step)),
        })
    }

    /// How many wanted times lie before a frame that begins at `T + shift`: such a frame is on
    /// screen from this wanted time on.
    pub(super) fn expression(&self, shift: f64) -> String {
        match self.even {
            Some((first, step)) => {
                let first = first + TOLERANCE_SECONDS - shift;
                format!(
                    "clip(ceil((T-({first:.9}))/{step:.12}),0,{})",
                    self.wanted.len()
                )
            }
            None => tree(&self.wanted, 0, shift),
        }
    }
}

/// A balanced tree of comparisons, neither deep nor slow; `before` wanted times lie before these.
fn tree(wanted: &[Frame], before: usize, shift: f64) -> String {
    let (left, right) = wanted.split_at(wanted.len() / 2);
    let Some((middle, right)) = right.split_first() else {
        return before.to_string();
    };
    let time = middle.seconds + TOLERANCE_SECONDS - shift;
    let after = tree(right, before + left.len() + 1, shift);
    let not_after = tree(left, before, shift);
    format!("if(gt(T,{time:.6}),{after},{not_after})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(plan: &Plan) -> Vec<f64> {
        plan.wanted.iter().map(|frame| frame.seconds).collect()
    }

    #[test]
    fn every_interval_stops_before_the_end() {
        let plan = |step, end| Times::Every(step).plan(Some(end), 100).unwrap();
        assert_eq!(seconds(&plan(1.0, 3.0)), [0.0, 1.0, 2.0]);
        assert_eq!(seconds(&plan(1.0, 3.1)), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(seconds(&plan(5.0, 0.04)), [0.0]);
        assert_eq!(plan(0.1, 0.3).wanted.len(), 3);
        assert_eq!(Times::Every(1.0).plan(None, 100).unwrap().wanted.len(), 100);
    }

    #[test]
    fn a_count_lies_in_the_middle_of_its_shares() {
        let plan = Times::Count(4).plan(Some(8.0), 100).unwrap();
        assert_eq!(seconds(&plan), [1.0, 3.0, 5.0, 7.0]);
        assert!(
            Times::Count(0)
                .plan(Some(8.0), 100)
                .unwrap()
                .wanted
                .is_empty()
        );
        let failure = Times::Count(4).plan(None, 100).unwrap_err();
        assert!(failure.is_media());
    }

    #[test]
    fn single_times_keep_their_places_when_they_are_put_in_order() {
        let plan = Times::At(vec![5.0, -1.0, 5.0]).plan(None, 100).unwrap();
        assert_eq!(seconds(&plan), [-1.0, 5.0, 5.0]);
        let places: Vec<_> = plan.wanted.iter().map(|frame| frame.index).collect();
        assert_eq!(places, [1, 0, 2]);
        assert_eq!(
            plan.expression(1.0),
            "if(gt(T,4.000001),if(gt(T,4.000001),3,2),if(gt(T,-1.999999),1,0))"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let kind = |times: Times| times.plan(Some(1e6), 1000).unwrap_err().kind;
        for step in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
            assert_eq!(kind(Times::Every(step)), Kind::Refused, "{step}");
        }
        assert_eq!(kind(Times::At(vec![f64::NAN])), Kind::Refused);
        assert_eq!(kind(Times::At(vec![0.0; 2001])), Kind::Refused);
        assert_eq!(kind(Times::Every(1.0)), Kind::TooLarge);
        assert_eq!(kind(Times::Count(usize::MAX)), Kind::TooLarge);
    }
}
