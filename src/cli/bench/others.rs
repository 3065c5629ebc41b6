//! Others: how much of the machine's CPU time went elsewhere while it was measured.

/// More than this share spoils the figures.
const MOST: f64 = 0.10;

/// CPU time so far, in the system's ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ticks {
    /// Of everything, idle time included.
    total: u64,
    /// Of whatever was not idle.
    busy: u64,
    /// Of this process.
    own: u64,
}

impl Ticks {
    /// By now; `None` where the system does not tell.
    pub fn now() -> Option<Ticks> {
        let machine = std::fs::read_to_string("/proc/stat").ok()?;
        let process = std::fs::read_to_string("/proc/self/stat").ok()?;
        Ticks::of(&machine, &process)
    }

    fn of(machine: &str, process: &str) -> Option<Ticks> {
        let fields = machine
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace();
        // user, nice, system, idle, iowait, irq, softirq, steal
        let fields: Vec<u64> = fields
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        let idle = fields.get(3)? + fields.get(4)?;
        let total = fields.iter().sum();
        // The name may hold anything, in brackets; user and system time are the 12th and 13th after it.
        let (_, rest) = process.rsplit_once(')')?;
        let times = rest.split_whitespace().skip(11).take(2);
        let own = times.filter_map(|field| field.parse::<u64>().ok()).sum();
        Some(Ticks {
            total,
            busy: total - idle,
            own,
        })
    }
}

/// A sentence, if others took much between these two.
pub fn warning(before: Option<Ticks>, after: Option<Ticks>) -> Option<String> {
    let (before, after) = (before?, after?);
    let since = |of: fn(&Ticks) -> u64| of(&after).saturating_sub(of(&before)) as f64;
    let (total, busy, own) = (since(|t| t.total), since(|t| t.busy), since(|t| t.own));
    let share = (busy - own) / total;
    (share > MOST).then(|| {
        format!(
            "Other programs had {:.0} % of this machine's CPU time meanwhile: the figures are lower and more \
             scattered than they need be. Run it again when nothing else runs.",
            share * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(total: u64, busy: u64, own: u64) -> Option<Ticks> {
        Some(Ticks { total, busy, own })
    }

    #[test]
    fn the_systems_files_are_understood() {
        let machine = "cpu  10 2 3 80 5 0 0 1 9 9\ncpu0 1 1 1 1 1 0 0 0 0 0\n";
        let process = "42 (a) b) R 1 2 3 4 5 6 7 8 9 10 30 4 0 0";
        assert_eq!(Ticks::of(machine, process), ticks(101, 16, 34));
        assert_eq!(Ticks::of("", process), None);
        assert!(Ticks::now().is_some());
    }

    #[test]
    fn only_what_others_take_is_worth_a_word() {
        let before = ticks(1000, 500, 100);
        assert_eq!(warning(before, ticks(2000, 1400, 950)), None);
        let said = warning(before, ticks(2000, 1400, 600)).expect("a warning");
        assert!(said.contains("40 %"), "{said}");
        assert_eq!(warning(None, before), None);
    }
}
