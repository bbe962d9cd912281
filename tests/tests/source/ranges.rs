//! Tables read by their row version, one page after the other and in ranges.

use std::time::Duration;

use kinetic_tableau_sync::{Cursor, SourceErrorKind, Window};

use super::script::{Row, Script, read, spec, whole};

/// So slow that ranges are read at the same time.
const SLOW: Duration = Duration::from_millis(30);

#[tokio::test(start_paused = true)]
async fn versions_may_be_as_large_and_as_small_as_they_can() {
    for latency in [Duration::ZERO, SLOW] {
        let rows: Vec<Row> = vec![(i64::MIN, 1), (-5, 2), (0, 3), (7, 4), (i64::MAX - 1, 5), (i64::MAX, 6)];
        for page_size in [1, 2, 3, 6, 10] {
            let script = Script::new(rows.clone(), latency);
            let mut found = read(&script.source(), &spec(page_size, 3), whole(i64::MAX)).await.unwrap();
            found.sort_unstable();
            assert_eq!(found, rows, "{latency:?}, pages of {page_size}");
        }
    }
    // The overlap goes back below zero as well.
    let script = Script::new([(-20, 1), (-10, 2), (-9, 3), (-1, 4), (5, 5)], Duration::ZERO);
    let window = Window { after: Some(Cursor::new("-10")), overlap: true, through: Cursor::new("5") };
    let found = read(&script.source(), &spec(2, 3), window).await.unwrap();
    assert_eq!(found, [(-10, 2), (-9, 3), (-1, 4), (5, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_nothing_to_filters_is_noticed_however_busy_it_is() {
    let script = Script::new((1..=100).map(|number| (number, number)), Duration::ZERO);
    *script.deaf.lock().unwrap() = true;
    // With each request somebody writes, so that the newest row always lies behind the window.
    script.before_each(|rows, _| {
        let newest = rows.iter().max().unwrap().0;
        rows[0].0 = newest + 1;
    });
    let error = read(&script.source(), &spec(10, 3), whole(90)).await.unwrap_err();
    assert!(error.kind() == SourceErrorKind::Order && error.to_string().contains("has rows there"), "{error}");

    // All rows that were to be read have moved: that is no fault.
    let script = Script::new((1..=20).map(|number| (number, number)), Duration::ZERO);
    script.before_each(|rows, asked| {
        if asked.before == 0 {
            for row in rows {
                row.0 += 100;
            }
        }
    });
    assert_eq!(read(&script.source(), &spec(10, 3), whole(20)).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn two_rows_of_one_version_are_noticed_wherever_a_page_ends() {
    let rows: Vec<Row> = (1..=20).map(|number| (number * 10, number)).collect();
    for latency in [Duration::ZERO, SLOW] {
        for page_size in [1, 2, 7, 20, 21] {
            for cap in [usize::MAX, 2] {
                for twice in 1..=20 {
                    let joined = rows.iter().copied().chain([(twice * 10, 1_000)]);
                    let script = Script::new(joined, latency);
                    *script.cap.lock().unwrap() = cap;
                    let found = read(&script.source(), &spec(page_size, 3), whole(200)).await;
                    let case = format!("{latency:?}, pages of {page_size}, at most {cap}, twice {twice}: {found:?}");
                    assert!(found.is_err_and(|error| error.kind() == SourceErrorKind::Order), "{case}");
                }
                let script = Script::new(rows.clone(), latency);
                *script.cap.lock().unwrap() = cap;
                let mut found = read(&script.source(), &spec(page_size, 3), whole(200)).await.unwrap();
                found.sort_unstable();
                assert_eq!(found, rows, "{latency:?}, pages of {page_size}, at most {cap}");
            }
        }
    }
}
