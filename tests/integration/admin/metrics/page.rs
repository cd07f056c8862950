//! The page as a strict reader takes it: `OpenMetrics` 1.0, as much of it as a server says.

use std::collections::BTreeMap;

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A page that was checked.
pub struct Page {
    pub text: String,
    families: BTreeMap<String, Family>,
    /// By name and labels, as they are written.
    samples: BTreeMap<String, f64>,
}

#[derive(Default)]
struct Family {
    help: Option<String>,
    kind: Option<String>,
    samples: Vec<(String, f64)>,
}

impl Page {
    /// Reads a page; panics over everything that a reader may refuse.
    pub fn read(text: &str) -> Self {
        let mut page = Self { text: text.to_owned(), families: BTreeMap::new(), samples: BTreeMap::new() };
        let lines = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        assert!(!lines.contains("# EOF\n#") && !lines.lines().any(|line| line == "# EOF"), "and only there");
        let mut current = String::new();
        for line in lines.lines() {
            match line.strip_prefix("# ") {
                Some(comment) => page.comment(comment, &mut current),
                None => page.sample(line, &current),
            }
        }
        page.families.iter().for_each(|(name, family)| family.check(name));
        page
    }

    /// What a sample says, which is named with its labels, in their order.
    #[track_caller]
    pub fn value(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("there is no {sample} in\n{}", self.text))
    }

    /// What all samples of this name say together.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples.iter().filter(|(sample, _)| name_of(sample) == name).map(|(_, value)| value).sum()
    }

    pub fn has(&self, sample: &str) -> bool {
        self.samples.contains_key(sample)
    }

    pub fn help(&self, family: &str) -> String {
        let help = self.families[family].help.as_ref().unwrap();
        help.replace("\\\\", "\0").replace("\\n", "\n").replace("\\\"", "\"").replace('\0', "\\")
    }

    pub fn families(&self) -> Vec<&str> {
        self.families.keys().map(String::as_str).collect()
    }

    /// The names of all samples, each once.
    pub fn names(&self) -> std::collections::BTreeSet<&str> {
        self.samples.keys().map(|sample| name_of(sample)).collect()
    }

    fn comment(&mut self, comment: &str, current: &mut String) {
        let (keyword, rest) = comment.split_once(' ').expect(comment);
        let (name, text) = rest.split_once(' ').expect(comment);
        if current != name {
            assert!(!self.families.contains_key(name), "{name} comes in two places");
            name.clone_into(current);
        }
        let family = self.families.entry(name.to_owned()).or_default();
        assert!(family.samples.is_empty(), "{name} is described behind its samples");
        let slot = match keyword {
            "HELP" => &mut family.help,
            "TYPE" => &mut family.kind,
            unknown => panic!("what is {unknown}?"),
        };
        assert!(slot.replace(text.to_owned()).is_none(), "{name} has two of {keyword}");
    }

    fn sample(&mut self, line: &str, current: &str) {
        let (sample, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        check_labels(sample);
        assert!(self.samples.insert(sample.to_owned(), value).is_none(), "{sample} is there twice");
        let family = self.families.get_mut(current).unwrap_or_else(|| panic!("{line} belongs to nothing"));
        assert!(family.suffixes().any(|suffix| name_of(sample) == format!("{current}{suffix}")), "{line} in {current}");
        family.samples.push((sample.to_owned(), value));
    }
}

impl Family {
    /// What the names of its samples append.
    fn suffixes(&self) -> impl Iterator<Item = &'static str> {
        match self.kind.as_deref() {
            Some("gauge") => [""].iter(),
            Some("counter") => ["_total"].iter(),
            Some("histogram") => ["_bucket", "_count", "_sum"].iter(),
            Some("info") => ["_info"].iter(),
            unknown => panic!("what is {unknown:?}?"),
        }
        .copied()
    }

    fn check(&self, name: &str) {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(name.bytes().all(is_word) && !name.as_bytes()[0].is_ascii_digit(), "{name}");
        assert!(self.help.is_some() && self.kind.is_some() && !self.samples.is_empty(), "{name} is not whole");
        assert!(self.samples.iter().all(|(_, value)| value.is_finite()), "{name}");
        match self.kind.as_deref() {
            Some("counter") => assert!(self.samples.iter().all(|(_, value)| *value >= 0.0), "{name}"),
            Some("info") => assert!(self.samples.iter().all(|(_, value)| *value == 1.0), "{name}"),
            Some("histogram") => self.check_histogram(name),
            _ => {}
        }
    }

    /// Buckets in the order of their bounds, each with at least as many as the one before; the last has all.
    fn check_histogram(&self, name: &str) {
        let of = |wanted: &str| {
            let all: Vec<_> = self.samples.iter().filter(|(sample, _)| name_of(sample) == wanted).collect();
            all
        };
        let buckets: Vec<(f64, f64)> = of(&format!("{name}_bucket"))
            .into_iter()
            .map(|(sample, count)| {
                let bound = sample.split_once("{le=\"").unwrap().1.strip_suffix("\"}").expect(sample);
                (if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() }, *count)
            })
            .collect();
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name}: {buckets:?}");
        let (bound, all) = *buckets.last().unwrap();
        let (count, sum) = (of(&format!("{name}_count")), of(&format!("{name}_sum")));
        assert_eq!((bound, count.len(), sum.len()), (f64::INFINITY, 1, 1), "{name}");
        assert_eq!(count[0].1, all, "{name}");
    }
}

/// `{a="b",c="d"}`, each name once, every value closed and escaped.
fn check_labels(sample: &str) {
    let Some((_, labels)) = sample.split_once('{') else { return };
    let mut rest = labels.strip_suffix('}').expect(sample);
    let mut names = Vec::new();
    loop {
        let (name, behind) = rest.split_once("=\"").expect(sample);
        assert!(!names.contains(&name) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{sample}");
        names.push(name);
        let mut escaped = false;
        let end = behind.find(|character| {
            let is_end = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            is_end
        });
        let end = end.expect(sample);
        match behind[end + 1..].strip_prefix(',') {
            Some(next) => rest = next,
            None => return assert_eq!(&behind[end + 1..], "", "{sample}"),
        }
    }
}

fn name_of(sample: &str) -> &str {
    sample.split('{').next().unwrap()
}

#[test]
fn what_is_no_page_is_refused() {
    let head = "# HELP a A\n# TYPE a counter\n";
    let histogram = |buckets: &str| format!("# HELP h H\n# TYPE h histogram\n{buckets}# EOF\n");
    let is_taken = |text: &str| std::panic::catch_unwind(|| Page::read(text)).is_ok();
    for good in [
        format!("{head}a_total 1\n# EOF\n"),
        format!("{head}a_total{{b=\"c\\\"}},\",d=\"\"}} 1\n# EOF\n"),
        histogram("h_sum 4\nh_count 2\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n"),
    ] {
        assert!(is_taken(&good), "{good}");
    }
    for bad in [
        format!("{head}a_total 1\n"),
        format!("{head}a 1\n# EOF\n"),
        format!("{head}a_total 1\na_total 2\n# EOF\n"),
        format!("{head}{head}a_total 1\n# EOF\n"),
        format!("{head}a_total 1\n# EOF\na_total 2\n# EOF\n"),
        format!("{head}a_total{{b=\"c\"d\"}} 1\n# EOF\n"),
        format!("{head}a_total -1\n# EOF\n"),
        format!("{head}# EOF\n"),
        "# TYPE a counter\na_total 1\n# EOF\n".into(),
        "a_total 1\n# EOF\n".into(),
        histogram("h_sum 4\nh_count 2\nh_bucket{le=\"1.0\"} 3\nh_bucket{le=\"+Inf\"} 2\n"),
        histogram("h_sum 4\nh_count 3\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n"),
        histogram("h_sum 4\nh_count 2\nh_bucket{le=\"1.0\"} 2\n"),
    ] {
        assert!(!is_taken(&bad), "{bad}");
    }
}
