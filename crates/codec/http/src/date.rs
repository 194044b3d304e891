//! HTTP dates (RFC 9110 section 5.6.7): IMF-fixdate is written, without allocation;
//! read are also the two obsolete forms.

/// Length of `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const HTTP_DATE_LEN: usize = 29;

/// The date of `seconds` since 1970-01-01 UTC, for years up to 9999.
pub fn http_date(seconds: u64) -> [u8; HTTP_DATE_LEN] {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let weekday = (days % 7) as usize * 3;
    out[..3].copy_from_slice(&DAYS[weekday..weekday + 3]);
    put2(&mut out[5..7], day);
    let month_at = (month as usize - 1) * 3;
    out[8..11].copy_from_slice(&MONTHS[month_at..month_at + 3]);
    put2(&mut out[12..14], year / 100 % 100);
    put2(&mut out[14..16], year % 100);
    put2(&mut out[17..19], rest / 3_600);
    put2(&mut out[20..22], rest / 60 % 60);
    put2(&mut out[23..25], rest % 60);
    out
}

fn put2(out: &mut [u8], value: u64) {
    out[0] = b'0' + (value / 10 % 10) as u8;
    out[1] = b'0' + (value % 10) as u8;
}

/// Seconds since 1970 of a date in any of the three forms, to the letter. `None`: it is no date,
/// or one before 1970.
pub fn parse_http_date(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let Some((_, rest)) = text.split_once(", ") else {
        // Sun Nov  6 08:49:37 1994
        let [_, month, day, time, year] = fields(text.split(' ').filter(|word| !word.is_empty()))?;
        let is_form = text.len() == 24 && month.len() == 3;
        return is_form.then(|| to_seconds((number(year, 4)?, month, number(day, day.len())?), time))?;
    };
    let rest = rest.strip_suffix(" GMT")?;
    // Sun, 06 Nov 1994 08:49:37 GMT
    if let Some([day, month, year, time]) = fields(rest.split(' ')) {
        return to_seconds((number(year, 4)?, month, number(day, 2)?), time);
    }
    // Sunday, 06-Nov-94 08:49:37 GMT: a year that seems more than 50 years ahead is past.
    let (date, time) = rest.split_once(' ')?;
    let [day, month, year] = fields(date.split('-'))?;
    let year = number(year, 2)?;
    to_seconds((if year < 70 { 2_000 + year } else { 1_900 + year }, month, number(day, 2)?), time)
}

/// As many as there must be.
fn fields<'t, const N: usize>(mut words: impl Iterator<Item = &'t str>) -> Option<[&'t str; N]> {
    let mut found = [""; N];
    for field in &mut found {
        *field = words.next()?;
    }
    words.next().is_none().then_some(found)
}

/// A number of so many digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn to_seconds((year, month, day): (u64, &str, u64), time: &str) -> Option<u64> {
    const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = NAMES.iter().position(|name| *name == month)? as u64 + 1;
    let [hour, minute, second] = fields(time.split(':'))?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 || year < 1970 {
        return None;
    }
    Some(day_number((year, month, day)) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// The day number of a date from 1970 on; the other way round than [`civil`].
fn day_number((year, month, day): (u64, u64, u64)) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day number, by the era method of the proleptic
/// Gregorian calendar (years begin in March, so that the leap day comes last).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_example_of_the_specification() {
        assert_eq!(&http_date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn reads_all_three_forms_and_nothing_else() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse_http_date(text.as_bytes()), Some(784_111_777), "{text}");
        }
        for day in (0..200_000).step_by(37) {
            assert_eq!(parse_http_date(&http_date(day * 86_400 + 5)), Some(day * 86_400 + 5));
        }
        for text in [
            "",
            "yesterday",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1894 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
        ] {
            assert_eq!(parse_http_date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn knows_leap_days_and_the_epoch() {
        assert_eq!(&http_date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&http_date(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&http_date(1_709_164_800), b"Thu, 29 Feb 2024 00:00:00 GMT");
    }
}
