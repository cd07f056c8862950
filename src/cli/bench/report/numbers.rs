//! Numbers as people read them.

/// Three significant digits, or all of the digits before the point, in groups of three.
pub(in crate::cli::bench) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        ..0.0005 => 0,
        ..0.995 => 3,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((&*text, None), |(whole, fraction)| (whole, Some(fraction)));
    // A whole number needs no fraction of zeros.
    let fraction = fraction.filter(|digits| digits.bytes().any(|digit| digit != b'0'));
    let mut grouped = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map(|digits| format!("{grouped}.{digits}")).unwrap_or(grouped)
}

/// A size in KiB, without the unit.
pub(in crate::cli::bench) fn kibibytes(bytes: f64) -> String {
    number(bytes / 1024.0)
}

/// A size with the largest unit of which it is one at least.
pub(in crate::cli::bench) fn bytes(count: f64) -> String {
    let units = [(f64::from(1 << 30), "GiB"), (f64::from(1 << 20), "MiB"), (1024.0, "KiB")];
    match units.into_iter().find(|(unit, _)| count.abs() >= *unit) {
        Some((unit, name)) => format!("{} {name}", number(count / unit)),
        None => format!("{} B", number(count)),
    }
}

/// A time in µs with the largest unit of which it is one at least.
pub(in crate::cli::bench) fn time(us: f64) -> String {
    match us {
        ..1e3 => format!("{} µs", number(us)),
        ..1e6 => format!("{} ms", number(us / 1e3)),
        _ => format!("{} s", number(us / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_three_digits_that_matter() {
        let rows = [
            (0.0, "0"),
            (0.0004, "0"),
            (0.0716, "0.072"),
            (1.0, "1"),
            (1.234, "1.23"),
            (9.999, "10"),
            (12.34, "12.3"),
            (99.96, "100"),
            (999.4, "999"),
            (1_000.0, "1,000"),
            (81_223.4, "81,223"),
            (1_234_567.0, "1,234,567"),
            (-123.0, "-123"),
            (-1_234.0, "-1,234"),
        ];
        for (value, expected) in rows {
            assert_eq!(number(value), expected, "{value}");
        }
    }

    #[test]
    fn a_size_has_a_unit_that_suits_it() {
        let rows = [(16.0, "16 B"), (262_144.0, "256 KiB"), (1_572_864.0, "1.50 MiB"), (25_276_000_000.0, "23.5 GiB")];
        for (count, expected) in rows {
            assert_eq!(bytes(count), expected);
        }
        assert_eq!(kibibytes(12_186.0), "11.9");
    }

    #[test]
    fn so_has_a_time() {
        for (us, expected) in [(999.0, "999 µs"), (1_234.5, "1.23 ms"), (12e6, "12 s"), (0.5, "0.500 µs")] {
            assert_eq!(time(us), expected);
        }
    }
}
