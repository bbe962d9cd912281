//! From Tableau's error code, or else the status, to a kind and a next step.
//!
//! The code goes before the status, since the two do not always agree: 409004 comes with 400 and 409023 with 404
//! (Tableau REST API reference, Handling Errors).

use http::StatusCode;

use super::{Delivery, ErrorKind, Fate};

pub(super) struct Verdict {
    pub(super) kind: ErrorKind,
    pub(super) delivery: Delivery,
    pub(super) message: String,
    pub(super) hint: &'static str,
    pub(super) fate: Fate,
}

pub(super) fn classify(status: StatusCode, code: Option<&str>) -> Verdict {
    let delivery = delivery(status, code);
    if let Some(code) = code
        && let Some((kind, message, hint)) = by_code(code)
    {
        let fate = match code {
            "401000" | "401002" => Fate::StaleToken,
            "429000" => Fate::Ordinary,
            _ if kind == ErrorKind::Server => Fate::Ordinary,
            _ => Fate::Final,
        };
        return Verdict { kind, delivery, message: format!("{message} ({code})"), hint, fate };
    }
    let (kind, message, hint) = by_status(status);
    let number = code.map_or_else(|| status.as_u16().to_string(), ToOwned::to_owned);
    let fate = match kind {
        ErrorKind::Throttled | ErrorKind::Server => Fate::Ordinary,
        _ => Fate::Final,
    };
    Verdict { kind, delivery, message: format!("{message} ({number})"), hint, fate }
}

/// A gateway that gave up waiting says nothing about what the server behind it did.
fn delivery(status: StatusCode, code: Option<&str>) -> Delivery {
    let gateway = matches!(status.as_u16(), 408 | 502 | 504);
    let unsigned = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE && code.is_none();
    if gateway || unsigned { Delivery::Unknown } else { Delivery::Answered }
}

type Found = (ErrorKind, &'static str, &'static str);

#[expect(clippy::too_many_lines, reason = "a table, one entry a code")]
fn by_code(code: &str) -> Option<Found> {
    use ErrorKind::{
        AlreadyExists, AlreadyQueued, Auth, Config, Conflict, Forbidden, NoUpstream, NotFound, PayloadTooLarge,
        Rejected, Server, Throttled, Unsupported, UpdateInProgress,
    };
    const RIGHTS: &str = "give the user the permission for it, or use a user who has it";
    const LOOK: &str = "look at the detail that the server gave";
    Some(match code {
        "400006" | "400007" | "403014" => {
            (Rejected, "the page number or page size is out of range", "ask for 1 to 1000 entries, from page 1 on")
        }
        "400010" => {
            (Rejected, "the server does not take this kind of file", "publish a .hyper, .tdsx, .tds or .parquet file")
        }
        "400011" => (
            Rejected,
            "the server could not publish the file",
            "check that it is a complete extract with one table (or one table tree) in a version that this server reads",
        ),
        "400016" => (PayloadTooLarge, "a block of the upload is too large", "set a smaller chunk size"),
        "400031" | "404018" => {
            (NotFound, "the server knows no such job any more", "look at the datasource itself to learn the outcome")
        }
        "400118" => (
            Rejected,
            "the server does not take the address of the webhook",
            "use https with a certificate that the world trusts, at an address that Tableau can reach",
        ),
        "400054" | "400055" => (Rejected, "the publish options contradict each other or the datasource", LOOK),
        "400065" | "400066" => (Rejected, "the server cannot use this filter or sort", "check field names and values"),
        "401000" | "401002" => (Auth, "the session is not valid", "sign in again"),
        "401001" | "401009" => (
            Auth,
            "the server refuses the sign-in",
            "check name and secret, that the token has not lapsed or been revoked, and the content url of the site",
        ),
        "401003" => (Auth, "the site could not be switched", "check the content url of the site"),
        "403007" => (
            Forbidden,
            "the server refuses to publish",
            "either the name is taken and overwriting was not asked for, or the user may not publish to this project",
        ),
        "403008" => (Rejected, "the storage quota of the site is used up", "free space on the site"),
        "403010" => (Forbidden, "the session belongs to another site", "set the content url of the right site"),
        "403032" => {
            (Forbidden, "the user may not change this datasource", "use its owner, with the permission to overwrite")
        }
        "403062" => (Rejected, "the datasource has several connections", "name the connection that is to be updated"),
        "403053" | "403054" | "403055" => {
            (Conflict, "the revision cannot be taken", "it is the one in use, or revisions are turned off")
        }
        "403069" => (Forbidden, "the user may not list sites", "on Cloud use the current site only"),
        "403070" => (Rejected, "one is on this site already", "go on with the session that there is"),
        "403109" => (Unsupported, "webhooks are turned off on this server", "ask the administrator of the server"),
        "403077" | "403028" => (Forbidden, "the user may not do this with the datasource", RIGHTS),
        "403080" | "403081" | "403091" => {
            (Conflict, "the job cannot be cancelled", "it is done already, or of a kind that cannot be cancelled")
        }
        "403104" | "409090" => (
            NoUpstream,
            "there is nothing that the server could refresh it from",
            "publish it again or update its data instead",
        ),
        "403131" => (Conflict, "somebody else is changing the datasource at this moment", "try again later"),
        "403157" => (Unsupported, "the feature is turned off on this site", "ask the administrator of the site"),
        "404000" => (NotFound, "the server knows no such site", "check the content url of the site"),
        "404001" | "404003" => (
            Unsupported,
            "the server knows no such version or method",
            "check the server address, and the versions of server and interface",
        ),
        "404004" => (NotFound, "no such datasource, or it is not visible to this user", "check id and permissions"),
        "404005" => (NotFound, "no such project, or it is not visible to this user", "check id and permissions"),
        "404006" => (NotFound, "no such workbook, or it is not visible to this user", "check id and permissions"),
        "404007" => (NotFound, "no such tag", "list the tags of the datasource"),
        "404023" => (NotFound, "no such schedule", "list the schedules"),
        "404024" => (NotFound, "no such revision", "list the revisions of the datasource"),
        "404034" => (NotFound, "no such webhook", "list the webhooks"),
        "409008" => (
            Conflict,
            "there is a rule of the other mode for the same capability",
            "remove that rule first, then add this one",
        ),
        "409091" => (Unsupported, "Cloud has no schedules", "make a task with a recurrence of its own"),
        "404008" => (
            Unsupported,
            "the datasource is not of the form whose data can be updated",
            "publish a bare .hyper file under this name first",
        ),
        "404015" => (NotFound, "the upload is unknown or used up", "upload the file again"),
        "404020" => (NotFound, "no such connection", "list the connections of the datasource"),
        "404026" => (NotFound, "no such task", "list the tasks"),
        "405000" => (
            Config,
            "the server does not take this method at this address",
            "use the final https address of the server: a redirect turns a POST into a GET",
        ),
        "406000" => (Unsupported, "the server does not answer in JSON here", "check the server address and version"),
        "409004" => (Rejected, "the server refuses a value", LOOK),
        "409006" => (AlreadyExists, "the project holds a project of this name already", "use the one that is there"),
        "409015" => (AlreadyExists, "there is a datasource of this name already", "use the one that is there"),
        "409082" => (Rejected, "running tasks at once is turned off on this site", "ask the administrator of the site"),
        "409093" => (AlreadyQueued, "the same refresh is queued or running already", "wait for that one"),
        "409094" => (
            UpdateInProgress,
            "another update of this datasource is queued or running",
            "wait for it and send the update again under the same request id",
        ),
        "413000" => (PayloadTooLarge, "the file is too large for this call", "split it into smaller ones"),
        "429000" => (Throttled, "the server asks for fewer requests", "wait; quotas refill in hours to a day"),
        "500000" | "500001" => (Server, "the server failed", "try again later, or look at the server's log"),
        _ => return None,
    })
}

fn by_status(status: StatusCode) -> Found {
    let unexpected = "look at the detail that the server gave";
    match status.as_u16() {
        401 => (ErrorKind::Auth, "the server refuses the identity", "check the credentials and any proxy between"),
        403 => (ErrorKind::Forbidden, "the user may not do this", "check the permissions and the role of the user"),
        404 => (
            ErrorKind::NotFound,
            "the server knows no such thing",
            "check the server address, the id and the permissions",
        ),
        405 | 501 => {
            (ErrorKind::Unsupported, "the server does not know this method", "check server address and version")
        }
        406 | 415 => {
            (ErrorKind::Unsupported, "the server does not know this format", "check server address and version")
        }
        408 | 502 | 504 => {
            (ErrorKind::Server, "a gateway gave up waiting for the server", "check the state before repeating a change")
        }
        409 => (ErrorKind::Conflict, "it conflicts with the state on the server", unexpected),
        413 => (ErrorKind::PayloadTooLarge, "the request is too large", "send it in smaller parts"),
        429 => (ErrorKind::Throttled, "the server asks for fewer requests", "wait; quotas refill in hours to a day"),
        300..=399 => (
            ErrorKind::Config,
            "the server sends the request elsewhere",
            "use the address that the server redirects to, if it is the right one",
        ),
        500..=599 => (ErrorKind::Server, "the server failed", "try again later, or look at the server's log"),
        _ => (ErrorKind::Rejected, "the server refuses the request", unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, code: &str) -> ErrorKind {
        classify(StatusCode::from_u16(status).unwrap(), Some(code)).kind
    }

    #[test]
    fn the_code_wins_over_the_status() {
        assert_eq!(kind(400, "409004"), ErrorKind::Rejected);
        assert_eq!(kind(400, "404006"), ErrorKind::NotFound);
        assert_eq!(kind(400, "400031"), ErrorKind::NotFound);
        assert_eq!(kind(409, "409093"), ErrorKind::AlreadyQueued);
        assert_eq!(kind(409, "409094"), ErrorKind::UpdateInProgress);
        assert_eq!(kind(409, "409090"), ErrorKind::NoUpstream);
        assert_eq!(kind(403, "403104"), ErrorKind::NoUpstream);
    }

    /// All codes that pipelines meet, in the words of the reference (Handling Errors), and what they mean here.
    #[test]
    fn every_documented_code_has_its_kind_and_a_next_step() {
        use ErrorKind::{
            AlreadyExists, AlreadyQueued, Auth, Config, Conflict, Forbidden, NoUpstream, NotFound, PayloadTooLarge,
            Rejected, Server, Throttled, Unsupported, UpdateInProgress,
        };
        let kinds: [(ErrorKind, &[&str]); 14] = [
            (Auth, &["401000", "401001", "401002", "401003", "401009"]),
            (
                Rejected,
                &[
                    "400000", "400006", "400007", "400008", "400010", "400011", "400015", "400017", "400019", "400020",
                    "400054", "400055", "400065", "400066", "400110", "400113", "400118", "400124", "400127", "400141",
                    "403008", "403014", "403062", "403070", "409004", "409082",
                ],
            ),
            (
                Forbidden,
                &[
                    "403000", "403001", "403004", "403007", "403010", "403023", "403027", "403028", "403030", "403032",
                    "403045", "403069", "403077", "403130", "403132",
                ],
            ),
            (
                NotFound,
                &[
                    "400031", "404000", "404004", "404005", "404006", "404007", "404015", "404018", "404020", "404023",
                    "404024", "404026", "404034",
                ],
            ),
            (
                Conflict,
                &[
                    "403053", "403054", "403055", "403080", "403081", "403091", "403131", "409008", "409031", "409037",
                    "409067", "409077",
                ],
            ),
            (AlreadyExists, &["409006", "409015"]),
            (AlreadyQueued, &["409093"]),
            (UpdateInProgress, &["409094"]),
            (NoUpstream, &["403104", "409090"]),
            (PayloadTooLarge, &["400016", "413000"]),
            (Throttled, &["429000"]),
            (Unsupported, &["403109", "403157", "404001", "404003", "404008", "406000", "409091"]),
            (Config, &["405000"]),
            (Server, &["500000", "500001"]),
        ];
        for (expected, codes) in kinds {
            for code in codes {
                // 500001 comes with 503; all others begin with their status.
                let status = if *code == "500001" { 503 } else { code[..3].parse().unwrap() };
                let verdict = classify(StatusCode::from_u16(status).unwrap(), Some(code));
                assert_eq!(verdict.kind, expected, "{code}");
                assert!(verdict.message.contains(code) && !verdict.hint.is_empty(), "{code}");
            }
        }
    }

    #[test]
    fn a_code_of_no_known_number_falls_back_to_the_status() {
        assert_eq!(kind(404, "BAD_REQUEST"), ErrorKind::NotFound);
        assert_eq!(kind(409, "409999"), ErrorKind::Conflict);
        assert_eq!(kind(400, "400999"), ErrorKind::Rejected);
    }

    #[test]
    fn only_an_ended_session_is_worth_a_new_one() {
        let fate = |code| classify(StatusCode::UNAUTHORIZED, Some(code)).fate;
        assert_eq!(fate("401000"), Fate::StaleToken);
        assert_eq!(fate("401002"), Fate::StaleToken);
        assert_eq!(fate("401001"), Fate::Final);
        assert_eq!(classify(StatusCode::UNAUTHORIZED, None).fate, Fate::Final);
    }

    #[test]
    fn the_outcome_behind_a_gateway_is_unknown() {
        let delivery = |status, code| classify(StatusCode::from_u16(status).unwrap(), code).delivery;
        assert_eq!(delivery(504, None), Delivery::Unknown);
        assert_eq!(delivery(502, Some("500000")), Delivery::Unknown);
        assert_eq!(delivery(500, None), Delivery::Unknown);
        assert_eq!(delivery(500, Some("500000")), Delivery::Answered);
        assert_eq!(delivery(503, None), Delivery::Answered);
        assert_eq!(delivery(429, None), Delivery::Answered);
    }
}
