"""Patterns of protected health information in report texts. What they find is counted, never repeated.

They are rules, made to miss little of what is written in a usual form and to leave measurements, levels and
examinations alone: a name without a title, credentials or a field before it is not found, and no finding is no proof.
``python -m benchmarks.planted_audit`` holds the sentences that they are held against. The marks of de-identification
(``___``, ``XXXX``, ``[**...**]``) match nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from crossray.data.study import Span

_MARK = re.compile(r"\[\*\*[^\[\]]{0,200}\*\*\]")
_NO_UNIT = r"(?!\s?(?:%|(?:[mc]m[23]?|m[lg]|mgy|kvp?|mas|hu|units?|degrees?|days?|pixels?|microns?|clips)\b))"

_MONTH_BUT_MAY = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_MONTH = rf"(?:{_MONTH_BUT_MAY}|may\b)"
_MONTH_ELSEWHERE = (  # German, Spanish, French
    r"(?:j[aä]nn?[eu]a?r|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember"
    r"|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre"
    r"|janvier|février|mars|avril|juin|juillet|août|septembre|octobre|novembre|décembre)"
)
# Letters of Latin scripts: names have umlauts and accents.
_LETTERS = [chr(code) for code in range(0xC0, 0x250)]
_UP = "A-Z" + "".join(letter for letter in _LETTERS if letter.isupper())
_LOW = "a-z" + "".join(letter for letter in _LETTERS if letter.islower())
_CAPITAL = r"(?=(?-i:[A-Z]))"
_TH = r"(?:st|nd|rd|th)"
_YEAR = r"(?:19|20)\d{2}"

# Day and month alone look like a fraction: only behind words that a date follows.
_BEFORE_DAY = "".join(f"(?<=\\b{word} )|" for word in ("on", "since", "dated", "placed", "removed", "compared to"))
_BEFORE_DAY += r"(?<=\bcompared with )|(?<=\bcomparison to )|(?<=\bcomparison with )"

_DATE = (
    rf"(?<![\d/.])\d{{1,2}}/\d{{1,2}}/(?:\d{{4}}|\d{{2}})(?![\d/]){_NO_UNIT}",
    r"(?<!\d)\d{4}([-/])\d{1,2}\1\d{1,2}(?!\d)",
    r"(?<![\d/.])\d{1,2}\.(?:\d{1,2}\.\d{4}|\d{2}\.\d{2})(?![\d/]|\.\d)",
    rf"(?<![\d-])(?:\d{{1,2}}-\d{{1,2}}-{_YEAR}|\d{{2}}-\d{{2}}-\d{{2}})(?![\d-]){_NO_UNIT}",
    rf"(?<!\d){_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)",
    rf"\b\d{{1,2}}{_TH}? (?:of )?{_MONTH},? \d{{4}}\b|\b\d{{1,2}}-{_MONTH}-(?:\d{{4}}|\d{{2}})\b",
    rf"\b{_MONTH} (?:\d{{1,2}}{_TH}?,? \d{{4}}|(?:of )?{_YEAR})\b",
    rf"\b{_CAPITAL}{_MONTH} \d{{1,2}}{_TH}?\b(?![/.]?\d){_NO_UNIT}",
    rf"\b\d{{1,2}}(?:{_TH} (?:of )?{_CAPITAL}{_MONTH}|(?: of)? {_CAPITAL}{_MONTH_BUT_MAY})",
    rf"(?:{_BEFORE_DAY})(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])(?![\d/]| of\b){_NO_UNIT}",
    rf"\b\d{{1,2}}(?:\.? | de ){_MONTH_ELSEWHERE}\b(?:(?: del?)? \d{{4}}\b)?",
    rf"\b(?:christmas|thanksgiving|easter|new year['’]?s)(?: day| eve| sunday| monday)?,? (?:of |in )?{_YEAR}\b",
    rf"(?:{_BEFORE_DAY})\d{{1,2}}\.\d{{1,2}}\.\d{{2}}(?!\d|\.\d){_NO_UNIT}",
    r"(?:(?<=\bvom )|(?<=\bam )|(?<=\bden ))\d{1,2}\.\d{1,2}\.(?:\d{4}|\d{2})?(?!\d)",
)

# What stands behind a title, a credential or a field and is no name. DR is digital radiography, MR magnetic resonance.
_NOT_A_NAME = (
    r"(?!(?i:x{2,}|a|an|and|as|at|by|for|from|has|in|is|no|not|none|of|on|or|the|to|was|were|who|will|with|patient|pt"
    r"|informed|notified|called|paged|aware|agrees?|radiologists?|residents?|attending|technologists?|physicians?"
    r"|practitioners?|staff|stations?|team|unknown|rotated|supine|upright|erect|prone|sitting|standing|lungs?|heart"
    r"|imag(?:e|es|ing)|angio\w*|spine|brain|chest|thorax|thoracic|cardiac|abdom\w*|pelvis|scans?|stud(?:y|ies)|exam\w*"
    r"|system|detector|films?|radiograph\w*|pa|ap|lateral|portable|enterography|cholangio\w*|venography|neck|head"
    r"|catheters?|tubes?|drains?|emergency|intensive|critical|care|clinic|departments?|service|ward|unit|nurs(?:e|ing)|referring|ordering|primary"
    r"|medic(?:al|ine)|surg(?:ical|ery)|interventional|icu|ed|er)\b)"
)
_WORD = rf"(?:[{_UP}]['’])?[{_UP}][{_UP}{_LOW}'’\-]+"
_FURTHER = rf"(?:,? (?:[{_UP}]\.|{_NOT_A_NAME}{_WORD})){{0,2}}"
_PARTICLES = r"(?:(?:van|von|der|den|de|del|della|di|la|le|al|el|bin|ter) ){0,3}"
_TWO_WORDS = rf"(?=[{_UP}][{_LOW}'’\-]+ (?:[{_UP}]\.? )?[{_UP}][{_LOW}])"
_NAME_OF = rf"(?:[{_UP}]\. ?){{0,3}}{_PARTICLES}{_NOT_A_NAME}{_WORD}{_FURTHER}"

_CREDENTIAL = r"(?:M\.?D|D\.?O|R\.?N|N\.?P|PA-C|Ph\.?D|FRCR|MBBS)\b(?! (?i:is|was))"
_PERSON = r"(?:physician|doctor|provider|md|radiologist|resident|technologist|surgeon|fellow|reader)"

_TITLE = (
    r"[Dd]rs?|DRS?|[Mm]rs?|MRS?|Ms|Miss|MISS|[Dd]octor|DOCTOR|[Pp]rof(?:essor)?|PROF(?:ESSOR)?|[Nn]urse|NURSE"
    r"|Herrn?|HERRN?|Frau|FRAU|Oberarzt|Oberärztin|Dra|Sra?(?=\. )|Señora?|Madame|Mme"
)

_NAME = (
    rf"\b(?:(?:{_TITLE})\b\.? ?(?:med\.? ?)?){{1,3}}{_NAME_OF}",
    rf"\bMS\.? (?=[A-Z]{{3}}){_NAME_OF}",
    rf"\b(?:[Dd]r|[Mm]rs?)\. {_NOT_A_NAME}[a-z]{{3,}}",
    rf"\b(?:(?:[{_UP}]\.|{_WORD}) ){{1,3}}{_WORD}, ?{_CREDENTIAL}",
    rf"\b{_TWO_WORDS}(?:{_WORD} ){{2,3}}{_CREDENTIAL}",
    rf"\bI, {_TWO_WORDS}{_NAME_OF}",
    r"\b(?i:(?:signed|dictated|read|interpreted|reviewed|transcribed|approved|verified|performed|reported) by)"
    rf"(?: ?: ?| ){_NAME_OF}",
    rf"\b(?i:(?:patient(?:'s)? |pt )?name|patient|(?:(?:referring|attending|ordering|requesting) )?{_PERSON}|attending)"
    rf" ?: ?{_NAME_OF}",
    # Two words with capitals, behind what people stand behind.
    # All in small letters: an initial, or a credential behind, as such reports are dictated.
    r"\b[Pp](?:t|atient)\b[.:]? ?[a-z]\. ?[a-z]{3,}\b",
    rf"\b(?i:(?:signed|dictated|read|interpreted|reviewed|transcribed) by):? [a-z]{{2,}} [a-z]{{2,}}"
    rf", ?(?i:{_CREDENTIAL})",
    rf"\b(?i:{_PERSON}|discuss(?:ed|ion) with|(?:communicated|relayed|reported|conveyed|called|given) to)"
    rf" (?:(?:PA|NP|RN|MD) (?=[A-Z][a-z])|{_TWO_WORDS}){_NAME_OF}",
)  # fmt: skip

_NUMBERED = r"(?:number|num\.?|no\.?|id|#)"
_LABEL = (
    rf"(?:mrn|mr ?#|med(?:ical|\.)? rec(?:ord|\.)?(?: {_NUMBERED})?|accession(?: {_NUMBERED})?|acc\.? ?{_NUMBERED}|acc:"
    rf"|p(?:atient|t)\.? {_NUMBERED}|(?:record|chart|hospital|case|account|visit|encounter|exam|study|order|unit|nhs"
    rf"|medicare|insurance|policy|member|social security|serial) {_NUMBERED}|ssn|s/n"
    r"|historia(?: cl[ií]nica)?|(?:n[°º] ?(?:de )?)?dossier|fall(?:nummer|-?nr\.?)|patienten(?:nummer|-?nr\.?))"
)
_RECORD_NUMBER = (
    rf"\b{_LABEL}(?: ?(?:is|was|[:#=]))* ?(?:\d{{3}}[ -]\d{{2,3}}[ -]\d{{4}}|(?:[a-z]{{1,3}}-?)?\d[\d-]{{3,20}}[a-z]?"
    r"|(?=(?:[a-z-]{0,6}\d){4})[a-z\d][a-z\d-]{5,30})\b",
    r"(?<![\w.])[0-2](?:\.\d{1,30}){6,20}(?![\w.]\d)",  # a DICOM UID
    r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])",
    r"(?<![\w-])(?!\d{3}-\d{3}-\d{4})\d{3,5}-\d{3,5}-\d{2,4}(?![\w-])",
    r"(?<![\w.-])[a-z]{1,2}\d{7,10}(?![\w.]\d|\w)",
    # Nothing that is measured in a film has seven digits; a date may be written in eight.
    rf"(?<![\w.,/+-])(?!{_YEAR}[01]\d[0-3]\d\b)\d{{7,12}}(?!\w|[.,]\d){_NO_UNIT}",
)

_LINE = r"(?:(?:tele)?phoned?|tel|ph|fax|mobile|cell|call(?:ed)?(?: back)?|contact|pager?|beeper|at)\b[.:#]?"
_PHONE = (
    r"(?<![\w.])(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ ./-])[2-9]\d{2}[ .-]\d{4}(?![\d-])",
    r"\+\d(?:[ ().-]{0,2}\d){7,13}(?!\d)",
    rf"\b{_LINE} ?(?:at |on |to |number |no\.? )?[:#]? ?(?:(?:\d{{3}}[ .-]?)?[2-9]\d{{2}}[ .-]?\d{{4}}|\d-\d{{4}})"
    rf"(?![\d-]){_NO_UNIT}",
    r"\b(?:(?:pager|pgr|beeper)(?: (?:number|no\.?|id))? ?[:#]? ?\d{4,6}|paged? (?:at )?#?\d{5,6})(?!\d)",
    r"\b(?:t[eé]l(?:[eé](?:fono?|phone))?|fax|mobil|handy|móvil)\b[.:]* ?"
    r"(?:\+\d{2} ?)?\(?\d(?:[ /().-]{0,2}\d){5,13}(?!\d)",
    r"(?<![\w.,/-])0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,4}(?![\w.,/-]\d|\w)",  # as it is written in Europe
    rf"\bext(?:ension|\.)? ?[:#]? ?\d{{3,5}}(?!\d){_NO_UNIT}",
    rf"(?<!\d)(?<!\d )\bx(?:\d-)?\d{{4,5}}(?!\d){_NO_UNIT}",
)

_EMAIL = (
    r"(?<![\w.+%'-])[\w.+%'-]{1,64} ?(?:@|[(\[]at[)\]]) ?(?:[a-z][\w-]{0,62}\.){1,5}[a-z]{2,}\b",
    r"(?<![\w.+%'-])[\w.+%'-]{1,64} ?@ ?[\w-]{1,63} ?\. ?(?:com|org|net|edu|gov)\b",
    r"\b[\w.+%'-]{1,64} at [\w-]{1,63} dot (?:com|org|net|edu|gov|mil|info|example|uk|de|fr|ca)\b",
)

_HOUSE = (
    r"\b\d{1,5}(?:-\d{1,5})?[A-Za-z]? (?!(?i:views?|leads?|days?|weeks?|months?|years?|prior|french|fr|[cm]m|chest"
    r"|hilar|left|right|small|large|new|levels?|ribs?|lines?)\b)"
)
_ADDRESS = (
    # In mixed case, so that CT (of the chest), DR, LN (a node) and ST (elevation) are none.
    rf"{_HOUSE}(?:(?:[NSEW]|St)\.? |[A-Z][A-Za-z'’]+ |\d{{1,3}}{_TH} ){{1,4}}(?:Street|St|Avenue|Ave|Road|Rd|Boulevard"
    r"|Blvd|Drive|Dr|Court|Ct|Lane|Ln|Way|Place|Pl|Terrace|Circle|Crescent|Close|Square|Parkway|Pkwy|Highway|Hwy)\b",
    rf"{_HOUSE}(?:[NSEW]\.? |[A-Z'’]{{2,}} ){{1,3}}(?:STREET|AVE(?:NUE)?|ROAD|BOULEVARD|BLVD|LANE|DRIVE|COURT|PARKWAY"
    r"|HIGHWAY|(?:ST|RD|DR|CT|LN)(?=[.,]))\b(?! LINES?\b)",
    r"\b[A-Z]\w*(?:str(?:\.|asse|aße)|weg|platz|allee|gasse) \d{1,4}\b",
    r"\b(?:Calle|Avenida|Plaza|Paseo|Via|Am|An der|Auf der) (?:de (?:la |los |las )?)?[A-Z]\w+,? \d{1,4}\b",
    r"\b\d{1,4}(?: ?bis)?,? (?:rue|place|chemin|impasse) (?:d\w{0,2}[ '’])?(?:la )?[A-Z]",
    r"\b(?i:zip(?: code)?|postal code|postcode|plz):? ?\d{5}\b|\b(?i:apt\.?|apartment) #?\d{1,4}[A-Z]?\b",
    r"\b(?:Rural )?(?:Route|R\.?R\.?) \d{1,3},? Box \d+",
    rf"{_HOUSE}(?:(?:north|south|east|west|old) )?[a-z]{{3,}} (?:street|avenue|boulevard|road)\b",
    r"\bP\.?O\.? ?(?i:box) \d+",
    rf"\b[A-Z][A-Za-z]+, (?:[A-Z]{{2}}|[A-Z][a-z]+(?: [A-Z][a-z]+)?) \d{{5}}(?:-\d{{4}})?(?!\d){_NO_UNIT}",
)


_ONES = "(?:one|two|three|four|five|six|seven|eight|nine)"
_OLD = r"(?:years?(?:[ -]old| of age)|y\.? ?[/-]?o\b|yr?s?[ -]old|jahre? alt|jährig\w*|ans\b(?! de)|años\b(?! de))"
_AGE = (  # above 89, which is as good as a name
    rf"(?<![\w.,/-])(?:9\d|1[01]\d)[ -]?{_OLD}",
    rf"\bninety(?:[ -]{_ONES})?[ -]{_OLD}",
    r"\b(?:age|aged|alter|edad|âge):? (?:9\d|1[01]\d)\b(?! ?(?:[.,]\d|days|weeks|months|hours|minutes|%))",
)

_INSTITUTION = (
    r"(?:Hospital|Medical Cent(?:er|re)|Health Cent(?:er|re)|Clinic|Infirmary|Nursing Home|Hospice|Sanatorium)"
)
_NO_INSTITUTION = (
    r"(?!(?:Outside|Outpatient|Inpatient|The|This|That|At|From|To|In|Other|Another|Prior|Previous|Our|Same|Community|Local"
    r"|Day|Skilled|Nursing|Referring|Pulmonary|Chest|Pain|Wound|Oncology|Cardiology|Surgery|Surgical|Emergency|No|A|An"
    r"|Veterans|Portable|Hospital|Medical|Health)\b)"
)
_PLACE = (
    rf"\b(?:{_NO_INSTITUTION}(?:St\.|[{_UP}][{_UP}{_LOW}'’-]+) ){{1,3}}(?:(?:General|Regional|Memorial|University"
    rf"|Community|Veterans) ){{0,2}}{_INSTITUTION}\b",
    rf"\b(?:(?:Universitäts)?[Kk]linikum|Krankenhaus|Hôpital|Clínica|Hospital (?=(?:d[ei]|La|San|Santa|General) )) ?"
    rf"(?:d[ei]l? |d['’])?(?:La |la )?[{_UP}][{_LOW}]+",
    rf"\b(?:AT|FROM|OF) (?:(?i:{_NO_INSTITUTION})(?:ST\.|[{_UP}][{_UP}'’-]+) ){{1,3}}{_INSTITUTION.upper()}\b",
    r"\b(?:st\.?|saint|mount|mt\.?) [a-z]{3,}(?:'s)? (?:hospital|clinic|medical center)\b",
)


def _any_of(alternatives: tuple[str, ...], *, ignore_case: bool) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in alternatives), re.IGNORECASE if ignore_case else 0)


PATTERNS: Mapping[str, re.Pattern[str]] = {
    "date": _any_of(_DATE, ignore_case=True),
    "name": _any_of(_NAME, ignore_case=False),
    "record_number": _any_of(_RECORD_NUMBER, ignore_case=True),
    "phone": _any_of(_PHONE, ignore_case=True),
    "email": _any_of(_EMAIL, ignore_case=True),
    "address": _any_of(_ADDRESS, ignore_case=False),
    "age": _any_of(_AGE, ignore_case=True),
    "place": _any_of(_PLACE, ignore_case=False),
}


def identifier_spans(text: str) -> Iterator[tuple[str, Span]]:
    """Kind and place of each identifier in a report's text, kind by kind; places of two kinds may overlap."""
    looked_at = _MARK.sub(lambda mark: "_" * len(mark[0]), text)
    for kind, pattern in PATTERNS.items():
        for found in pattern.finditer(looked_at):
            yield kind, Span(found.start(), found.end())


def identifiers_in(text: str) -> dict[str, int]:
    """How often each kind of identifier occurs in a report's text; kinds that do not occur are left out."""
    return dict(Counter(kind for kind, _ in identifier_spans(text)))
