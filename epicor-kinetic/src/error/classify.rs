//! From status, exception class and message to a kind and a next step.
//!
//! The class goes before the status, since servers disagree on the status (a missing record has been seen as 404 and
//! as 500, a missing right as 401 and as 403), and all 401 share one class and differ by message only (observed).

use std::borrow::Cow;

use http::StatusCode;

use super::{ErrorKind, Fate, ServiceError};

pub(super) struct Verdict {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) hint: Cow<'static, str>,
    pub(super) fate: Fate,
}

pub(super) fn classify(status: StatusCode, service: Option<&ServiceError>) -> Verdict {
    service
        .and_then(|service| by_message(status, service).or_else(|| by_class(status, service)))
        .unwrap_or_else(|| by_status(status, service))
}

fn verdict(kind: ErrorKind, message: impl Into<String>, hint: &'static str, fate: Fate) -> Verdict {
    Verdict { kind, message: message.into(), hint: Cow::Borrowed(hint), fate }
}

/// The message decides where it is the only thing that tells cases apart.
fn by_message(status: StatusCode, service: &ServiceError) -> Option<Verdict> {
    let code = status.as_u16();
    if service.says("invalid api key") || service.says("api key is required") {
        return Some(verdict(
            ErrorKind::Auth,
            format!("the server does not accept the api key ({code})"),
            "check the key in API Key Maintenance: it belongs to one environment, may have expired, and must be valid for this company",
            Fate::Final,
        ));
    }
    if service.says("maximum users exceeded") {
        return Some(verdict(
            ErrorKind::Throttled,
            format!("no licence is free ({code})"),
            "claim the Web Service licence type, lower the concurrency, or try again later",
            Fate::Ordinary,
        ));
    }
    let unauthorised = service.is_type("UnauthorizedAccessException");
    if unauthorised && service.says("invalid username or password") {
        return Some(verdict(
            ErrorKind::Auth,
            format!("the server does not accept the user name or password ({code})"),
            "check both, that the account is enabled, and that it is not limited to single sign-on",
            Fate::StaleToken,
        ));
    }
    if unauthorised && (service.says("access denied") || service.says("not authorized")) {
        let what = access_target(&service.message).map(|target| format!(" to {target}")).unwrap_or_default();
        return Some(verdict(
            ErrorKind::Forbidden,
            format!("access denied{what} ({code})"),
            "give the user rights to this service and add it to the access scope of the api key",
            Fate::Final,
        ));
    }
    if service.says("modified by another user") {
        return Some(verdict(
            ErrorKind::Conflict,
            format!("the record was changed by somebody else in the meantime ({code})"),
            "read it again, repeat the change on the new version and save that",
            Fate::Final,
        ));
    }
    if let Some(name) = unknown_property(&service.message) {
        return Some(Verdict {
            kind: ErrorKind::Rejected,
            message: format!("the server knows no column {name} there ({code})"),
            hint: Cow::Borrowed(
                "compare it with the names in the metadata: they are case-sensitive and differ by release",
            ),
            fate: Fate::Final,
        });
    }
    if service.says("execution timeout expired") {
        return Some(verdict(
            ErrorKind::Server,
            format!("the query ran into its time limit on the server ({code})"),
            "narrow the query by parameters, or raise its execution timeout in Kinetic",
            Fate::Final,
        ));
    }
    None
}

fn by_class(status: StatusCode, service: &ServiceError) -> Option<Verdict> {
    let code = status.as_u16();
    let class = service.error_type.as_deref()?.rsplit('.').next()?;
    let found = match class {
        "RecordNotFoundException" => {
            verdict(ErrorKind::NotFound, format!("no such record ({code})"), "check the key values", Fate::Final)
        }
        "DuplicateRecordException" => duplicate(code),
        "BusinessObjectException" | "BLException" if service.says("duplicate") => duplicate(code),
        "BusinessObjectException" | "BLException" => verdict(
            ErrorKind::Rejected,
            format!("refused by a business rule ({code})"),
            "read the server's own message in the service error",
            Fate::Final,
        ),
        "ODataException" => verdict(
            ErrorKind::Rejected,
            format!("the server cannot read the query ({code})"),
            "check the filter and the column names: they are case-sensitive",
            Fate::Final,
        ),
        "InvalidSessionException" => verdict(
            ErrorKind::Auth,
            format!("the session is no longer valid ({code})"),
            "leave out the session header, or log in again",
            Fate::Final,
        ),
        "UnauthorizedAccessException" if status == StatusCode::FORBIDDEN => return None,
        "UnauthorizedAccessException" => identity(code),
        "ConversionsPendingException" => verdict(
            ErrorKind::Server,
            format!("the server is not ready after an upgrade ({code})"),
            "try again after the pending conversions have run",
            Fate::Ordinary,
        ),
        _ => return None,
    };
    Some(found)
}

fn by_status(status: StatusCode, service: Option<&ServiceError>) -> Verdict {
    let code = status.as_u16();
    let class = service
        .and_then(|service| service.error_type.as_deref())
        .filter(|class| class.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
        .map(|class| format!(" {class}"))
        .unwrap_or_default();
    match code {
        401 => identity(code),
        403 => verdict(
            ErrorKind::Forbidden,
            "access denied (403)",
            "give the user rights to this service and add it to the access scope of the api key",
            Fate::Final,
        ),
        404 => verdict(
            ErrorKind::NotFound,
            "nothing there (404)",
            "check root address, company, service, entity set or query id, and their spelling and case",
            Fate::Final,
        ),
        409 | 412 => verdict(
            ErrorKind::Conflict,
            format!("in conflict with what is stored ({code}{class})"),
            "read the record again before you change it",
            Fate::Final,
        ),
        413 | 414 => verdict(
            ErrorKind::Rejected,
            format!("the request is too long for the server ({code})"),
            "ask for fewer columns, shorten the filter or send fewer rows",
            Fate::Final,
        ),
        429 => verdict(
            ErrorKind::Throttled,
            "too many requests (429)",
            "lower the concurrency or try again later",
            Fate::Ordinary,
        ),
        300..=399 => verdict(
            ErrorKind::Config,
            format!("the server answers with a redirect ({code})"),
            "check the root address: it must be the one of the application server itself",
            Fate::Final,
        ),
        408 | 500..=599 => verdict(
            ErrorKind::Server,
            format!("the server failed ({code}{class})"),
            "try again later; if it stays, give the correlation id to whoever runs the server",
            Fate::Ordinary,
        ),
        _ => verdict(
            ErrorKind::Rejected,
            format!("the server refused the request ({code}{class})"),
            "read the server's own message in the service error",
            Fate::Final,
        ),
    }
}

fn duplicate(code: u16) -> Verdict {
    verdict(
        ErrorKind::Conflict,
        format!("a record with this key exists already ({code})"),
        "read the existing record and change it, or use another key",
        Fate::Final,
    )
}

fn identity(code: u16) -> Verdict {
    verdict(
        ErrorKind::Auth,
        format!("the server does not accept the identity ({code})"),
        "check user, token or client credentials, and that they belong to a Kinetic user of this company",
        Fate::StaleToken,
    )
}

/// `Access denied (Erp.BO.Company.GetRows).` names the method, which is no secret and no row value.
fn access_target(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('(')?;
    let (target, _) = rest.split_once(')')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (!target.is_empty() && target.len() <= 100 && target.chars().all(plain)).then_some(target)
}

/// `Could not find a property named 'VendorID' on type 'Erp.PO'.` names the column.
fn unknown_property(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("find a property named '")?;
    let (name, _) = rest.split_once('\'')?;
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    (!name.is_empty() && name.len() <= 100 && name.chars().all(plain)).then_some(name)
}
