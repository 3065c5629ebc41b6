//! Taking turns: two or more things are done one after the other, round by round, so that a machine
//! that slows down slows all of them.
//!
//! How often a thing is done in its turn follows from how long it takes once, and how many rounds
//! there are from how long a round takes: a slow device is measured less often, never longer than
//! was asked for. No timed turn is thrown away.

use std::time::Instant;

use super::Spread;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rounds in which everybody has a turn.
    pub rounds: usize,
    /// Fewest rounds, however long they take.
    pub least_rounds: usize,
    /// What a turn should last.
    pub turn_seconds: f64,
    /// What all rounds together may last.
    pub most_seconds: f64,
}

/// Somebody who takes turns.
pub struct Runner<'a, E> {
    bytes: usize,
    once: Box<dyn FnMut() -> Result<f64, E> + 'a>,
}

impl<'a, E> Runner<'a, E> {
    /// Works on so many bytes each time, and says how many seconds of it count.
    pub fn timed(bytes: usize, once: impl FnMut() -> Result<f64, E> + 'a) -> Runner<'a, E> {
        Runner {
            bytes,
            once: Box::new(once),
        }
    }

    /// Works on so many bytes each time; all of it counts.
    pub fn new(bytes: usize, mut once: impl FnMut() + 'a) -> Runner<'a, E> {
        Runner::timed(bytes, move || Ok(super::seconds(1, &mut once)))
    }

    /// How often to do it in a turn: it is done once to get warm, and once more to see.
    fn times(&mut self, turn_seconds: f64) -> Result<(usize, f64), E> {
        let mut seconds = 0.0;
        for _ in 0..2 {
            let begun = Instant::now();
            (self.once)()?;
            seconds = begun.elapsed().as_secs_f64();
            if seconds > turn_seconds {
                break;
            }
        }
        let times = (turn_seconds / seconds.max(1e-9)).clamp(1.0, 1e6) as usize;
        Ok((times, times as f64 * seconds))
    }

    /// Bytes per second of one turn.
    fn turn(&mut self, times: usize) -> Result<f64, E> {
        let mut seconds = 0.0;
        for _ in 0..times {
            seconds += (self.once)()?;
        }
        Ok((times * self.bytes) as f64 / seconds)
    }
}

/// What the turns gave.
#[derive(Clone, Debug)]
pub struct Turns {
    /// Bytes per second, runner by runner and round by round.
    rates: Vec<Vec<f64>>,
}

impl Turns {
    /// How many rounds there were.
    pub fn rounds(&self) -> usize {
        self.rates.first().map_or(0, Vec::len)
    }

    /// The rate of a runner, in 10^9 bytes per second.
    pub fn gb(&self, runner: usize) -> Spread {
        let rates = self.rates.get(runner).into_iter().flatten();
        Spread::of(rates.map(|rate| rate / 1e9).collect())
    }

    /// How many times as fast as `other` the runner was, round by round.
    pub fn ratio(&self, runner: usize, other: usize) -> Spread {
        let [ours, theirs] = [runner, other].map(|index| self.rates.get(index));
        let pairs = ours.into_iter().flatten().zip(theirs.into_iter().flatten());
        Spread::of(pairs.map(|(ours, theirs)| ours / theirs).collect())
    }
}

/// Lets everybody take turns. Who begins changes from round to round, so that nobody always finds
/// the same neighbour's caches.
pub fn take<E>(pace: Pace, mut runners: Vec<Runner<'_, E>>) -> Result<Turns, E> {
    let mut times = Vec::with_capacity(runners.len());
    let mut round_seconds = 0.0;
    for runner in &mut runners {
        let (count, seconds) = runner.times(pace.turn_seconds)?;
        times.push(count);
        round_seconds += seconds;
    }
    let most = (pace.most_seconds / f64::max(round_seconds, 1e-9)) as usize;
    let rounds = pace.rounds.min(most).max(pace.least_rounds).max(1);
    let mut rates = vec![Vec::with_capacity(rounds); runners.len()];
    for round in 0..rounds {
        for step in 0..runners.len() {
            let index = (round + step) % runners.len();
            rates[index].push(runners[index].turn(times[index])?);
        }
    }
    Ok(Turns { rates })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        rounds: 6,
        least_rounds: 2,
        turn_seconds: 1e-9,
        most_seconds: 10.0,
    };

    #[test]
    fn everybody_has_as_many_turns_and_the_first_one_changes() {
        let order = std::cell::RefCell::new(Vec::new());
        let runner = |name: char, seconds: f64| {
            Runner::timed(1000, {
                let order = &order;
                move || {
                    order.borrow_mut().push(name);
                    Ok::<f64, ()>(seconds)
                }
            })
        };
        let turns = take(PACE, vec![runner('a', 1e-6), runner('b', 2e-6)]).expect("turns");
        assert_eq!(turns.rounds(), 6);
        let order: String = order.borrow().iter().collect();
        assert!(order.ends_with("abbaabbaabba"), "{order}");
        assert!((turns.gb(0).median - 1.0).abs() < 1e-9);
        assert!((turns.ratio(0, 1).median - 2.0).abs() < 1e-9);
        assert!(turns.gb(7).median.is_nan());
    }

    #[test]
    fn what_is_slow_is_measured_less_often() {
        let slow = || std::thread::sleep(std::time::Duration::from_millis(2));
        let pace = Pace {
            most_seconds: 0.0,
            ..PACE
        };
        let turns = take(pace, vec![Runner::<()>::new(1, slow)]).expect("turns");
        assert_eq!(turns.rounds(), 2);
    }

    #[test]
    fn a_failure_ends_it() {
        let failing = Runner::timed(1, || Err("broken"));
        assert_eq!(take(PACE, vec![failing]).err(), Some("broken"));
    }
}
