//! Languages: two- and three-letter codes, and which of them mean the same.
//!
//! A code comes in and is checked; it goes out as it was written, into names and files, and as a
//! three-letter code wherever languages are compared. Three-letter codes are checked by form only:
//! there are thousands of them.

use serde::{Deserialize, Serialize};

use super::Refused;

/// A language by its ISO 639-1 or 639-2 code. In JSON a text, checked when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(String);

impl Language {
    /// Two letters of ISO 639-1, or three of ISO 639-2.
    pub fn parse(written: &str) -> Result<Self, Refused> {
        let letters = written.bytes().all(|b| b.is_ascii_alphabetic());
        let code = written.to_ascii_lowercase();
        let known = match code.len() {
            2 => three_letters(&code).is_some(),
            3 => letters,
            _ => false,
        };
        if letters && known {
            return Ok(Self(code));
        }
        Err(Refused::new(
            "a language is two letters of ISO 639-1 or three of ISO 639-2",
        ))
    }

    /// The language of a tag like `en-US`; `None` for what is no language.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let code = tag.split(['-', '_']).next()?;
        Self::parse(code)
            .ok()
            .filter(|language| language.0 != "und")
    }

    /// The code, in small letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The three letters of ISO 639-2/T: equal for every code of one language.
    pub fn key(&self) -> &str {
        let three = three_letters(&self.0).unwrap_or(&self.0);
        let older = BIBLIOGRAPHIC.iter().find(|(older, _)| *older == three);
        older.map_or(three, |(_, three)| *three)
    }
}

impl TryFrom<String> for Language {
    type Error = Refused;

    fn try_from(written: String) -> Result<Self, Refused> {
        Self::parse(&written)
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.0
    }
}

fn three_letters(two: &str) -> Option<&'static str> {
    let found = TWO_LETTERS
        .split_ascii_whitespace()
        .filter_map(|pair| pair.split_at_checked(2))
        .find(|(code, _)| *code == two);
    found.map(|(_, three)| three)
}

/// ISO 639-2 has two codes for twenty languages: the bibliographic one, and the one that is used.
const BIBLIOGRAPHIC: [(&str, &str); 20] = [
    ("tib", "bod"),
    ("cze", "ces"),
    ("wel", "cym"),
    ("ger", "deu"),
    ("gre", "ell"),
    ("baq", "eus"),
    ("per", "fas"),
    ("fre", "fra"),
    ("arm", "hye"),
    ("ice", "isl"),
    ("geo", "kat"),
    ("mao", "mri"),
    ("mac", "mkd"),
    ("may", "msa"),
    ("bur", "mya"),
    ("dut", "nld"),
    ("rum", "ron"),
    ("slo", "slk"),
    ("alb", "sqi"),
    ("chi", "zho"),
];

/// The 184 codes of ISO 639-1, each with its three letters after it.
const TWO_LETTERS: &str = "\
    aaaar ababk aeave afafr akaka amamh anarg arara asasm avava ayaym azaze babak bebel bgbul bhbih \
    bibis bmbam bnben bobod brbre bsbos cacat ceche chcha cocos crcre csces cuchu cvchv cycym dadan \
    dedeu dvdiv dzdzo eeewe elell eneng eoepo esspa etest eueus fafas ffful fifin fjfij fofao frfra \
    fyfry gagle gdgla glglg gngrn guguj gvglv hahau heheb hihin hohmo hrhrv hthat huhun hyhye hzher \
    iaina idind ieile igibo iiiii ikipk ioido isisl itita iuiku jajpn jvjav kakat kgkon kikik kjkua \
    kkkaz klkal kmkhm knkan kokor krkau kskas kukur kvkom kwcor kykir lalat lbltz lglug lilim lnlin \
    lolao ltlit lulub lvlav mgmlg mhmah mimri mkmkd mlmal mnmon mrmar msmsa mtmlt mymya nanau nbnob \
    ndnde nenep ngndo nlnld nnnno nonor nrnbl nvnav nynya ococi ojoji omorm orori ososs papan pipli \
    plpol pspus ptpor quque rmroh rnrun roron rurus rwkin sasan scsrd sdsnd sesme sgsag sisin skslk \
    slslv smsmo snsna sosom sqsqi srsrp ssssw stsot susun svswe swswa tatam tetel tgtgk ththa titir \
    tktuk tltgl tntsn toton trtur tstso tttat twtwi tytah uguig ukukr ururd uzuzb veven vivie vovol \
    wawln wowol xhxho yiyid yoyor zazha zhzho zuzul \
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_one_language_are_the_same_language() {
        for (one, other) in [
            ("en", "eng"),
            ("de", "ger"),
            ("DEU", "de"),
            ("zh", "chi"),
            ("fr", "fre"),
        ] {
            let (one, other) = (
                Language::parse(one).unwrap(),
                Language::parse(other).unwrap(),
            );
            assert_eq!(one.key(), other.key());
        }
        assert_ne!(
            Language::parse("nb").unwrap().key(),
            Language::parse("no").unwrap().key()
        );
        assert_eq!(Language::parse("EN").unwrap().as_str(), "en");
        assert_eq!(Language::of_tag("pt-BR").unwrap().key(), "por");
        assert_eq!(Language::of_tag("und"), None);
    }

    #[test]
    fn only_codes_are_languages() {
        for written in [
            "", "e", "e1", "xx", "engl", "en-US", "ené", "é", "../", "日本",
        ] {
            assert!(Language::parse(written).is_err(), "{written}");
        }
        assert_eq!(TWO_LETTERS.split_ascii_whitespace().count(), 184);
        assert!(
            TWO_LETTERS
                .split_ascii_whitespace()
                .all(|pair| pair.len() == 5)
        );
    }
}
