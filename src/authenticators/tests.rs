//! What all of them have in common.

use super::*;

#[test]
fn any_number_is_a_moment() {
    assert_eq!(moment(0.0), UNIX_EPOCH);
    assert_eq!(moment(-1.0), UNIX_EPOCH);
    assert_eq!(moment(1.5), UNIX_EPOCH + Duration::from_millis(1500));
    let last = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    for far in [LAST_MOMENT, LAST_MOMENT + 1.0, 1e300, f64::INFINITY] {
        assert_eq!(moment(far), last);
    }
}

#[test]
fn rooms_are_few_and_have_names() {
    let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(rooms(&[]), Some(Vec::new()));
    assert_eq!(rooms(&names(64)).unwrap().len(), 64);
    assert_eq!(rooms(&names(65)), None);
    assert_eq!(rooms(&["a".into(), String::new()]), None);
}
