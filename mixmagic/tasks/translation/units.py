"""Units and the words of numbers, in the five first-class languages."""

from __future__ import annotations

import functools

# The form in which units are compared, then how they are written.
_UNITS: dict[str, str] = {
    "%": "% percent prozent percento pct",
    "‰": "‰",
    "bit": "bit bits",
    "B": "B byte bytes octet octets",
    "kB": "KB kB Ko ko kilobyte kilobytes kilooctet kilooctets",
    "MB": "MB Mo megabyte megabytes mégaoctet mégaoctets",
    "GB": "GB Go gigabyte gigabytes gigaoctet gigaoctets",
    "TB": "TB To terabyte terabytes téraoctet téraoctets",
    "PB": "PB Po",
    "KiB": "KiB Kio",
    "MiB": "MiB Mio",
    "GiB": "GiB Gio",
    "TiB": "TiB Tio",
    "kbit": "Kb kb kbit Kbit",
    "Mbit": "Mb Mbit",
    "Gbit": "Gb Gbit",
    "ns": "ns nanosecond nanoseconds nanoseconde nanosecondes nanosekunden nanosegundos"
    " nanosecondi",
    "µs": "µs μs us microsecond microseconds microseconde microsecondes mikrosekunde"
    " mikrosekunden microsegundo microsegundos microsecondo microsecondi",
    "ms": "ms millisecond milliseconds milliseconde millisecondes millisekunde millisekunden"
    " milisegundo milisegundos millisecondo millisecondi",
    "s": "s sec secs second seconds seconde secondes sekunde sekunden sek segundo segundos seg"
    " secondo secondi",
    "min": "min mins minute minutes minuten minuto minutos minuti",
    "h": "h hr hrs hour hours heure heures stunde stunden std hora horas ora ore",
    "day": "day days jour jours tag tage tagen día días giorno giorni",
    "week": "week weeks semaine semaines woche wochen semana semanas settimana settimane",
    "month": "month months mois monat monate monaten mes meses mese mesi",
    "year": "year years an ans année années jahr jahre jahren año años anno anni",
    "nm": "nm",
    "µm": "µm μm",
    "mm": "mm millimeter millimeters millimetre millimetres millimètre millimètres milímetro"
    " milímetros millimetro millimetri",
    "cm": "cm centimeter centimeters centimetre centimetres centimètre centimètres zentimeter"
    " centímetro centímetros centimetro centimetri",
    "m": "m meter meters metre metres mètre mètres metern metro metros metri",
    "km": "km kilometer kilometers kilometre kilometres kilomètre kilomètres kilometern kilómetro"
    " kilómetros chilometro chilometri",
    "mile": "mile miles mi meile meilen milla millas miglio miglia",
    "ft": "ft foot feet",
    "g": "g gram grams gramme grammes gramm gramo gramos grammo grammi",
    "mg": "mg",
    "kg": "kg kilogram kilograms kilogramme kilogrammes kilogramm kilogramo kilogramos"
    " chilogrammo chilogrammi",
    "lb": "lb lbs",
    "L": "l L liter liters litre litres litern litro litros litri",
    "mL": "ml mL",
    "km/h": "km/h kmh kph",
    "mph": "mph",
    "m/s": "m/s",
    "°C": "°C ℃",
    "°F": "°F ℉",
    "°": "°",
    "Hz": "Hz",
    "kHz": "kHz",
    "MHz": "MHz",
    "GHz": "GHz",
    "W": "W watt watts",
    "kW": "kW",
    "MW": "MW",
    "kWh": "kWh",
    "V": "V volt volts",
    "px": "px pixel pixels pixeln píxel píxeles",
    "dpi": "dpi",
    "$": "$ USD dollar dollars dólar dólares dollaro dollari",
    "€": "€ EUR euro euros",
    "£": "£ GBP",
    "¥": "¥ JPY yen",
}
# A number with one of these is not complete without it.
SYMBOLS = frozenset(
    [
        "%",
        "‰",
        "kB",
        "MB",
        "GB",
        "TB",
        "PB",
        "KiB",
        "MiB",
        "GiB",
        "TiB",
        "°C",
        "°F",
        "Hz",
        "kHz",
        "MHz",
        "GHz",
        "km/h",
        "mph",
        "$",
        "€",
        "£",
    ]
)

# By which a number is multiplied, as a power of ten.
_SCALES = {
    "en": "thousand:3 million:6 millions:6 billion:9 billions:9 trillion:12",
    "fr": "mille:3 million:6 millions:6 milliard:9 milliards:9 billion:12 billions:12",
    "de": "tausend:3 mio:6 million:6 millionen:6 mrd:9 milliarde:9 milliarden:9 billion:12"
    " billionen:12",
    "es": "mil:3 millón:6 millones:6 billón:12 billones:12",
    "it": "mila:3 milione:6 milioni:6 miliardo:9 miliardi:9",
}
_NUMBER_WORDS = {
    "en": "zero:0 one:1 two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11"
    " twelve:12 thirteen:13 fourteen:14 fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19"
    " twenty:20 thirty:30 forty:40 fifty:50 sixty:60 seventy:70 eighty:80 ninety:90 hundred:100"
    " thousand:1000 first:1 second:2 third:3 fourth:4 fifth:5 sixth:6 seventh:7 eighth:8 ninth:9"
    " tenth:10 once:1 twice:2 double:2 dozen:12 single:1 a:1 an:1 half:2 quarter:4",
    "fr": "zéro:0 un:1 une:1 deux:2 trois:3 quatre:4 cinq:5 six:6 sept:7 huit:8 neuf:9 dix:10"
    " onze:11 douze:12 treize:13 quatorze:14 quinze:15 seize:16 vingt:20 trente:30 quarante:40"
    " cinquante:50 soixante:60 cent:100 mille:1000 premier:1 première:1 second:2 seconde:2"
    " deuxième:2 troisième:3 quatrième:4 cinquième:5 sixième:6 septième:7 huitième:8 neuvième:9"
    " dixième:10 double:2 douzaine:12 seul:1 seule:1 demi:2 moitié:2 quart:4",
    "de": "null:0 ein:1 eine:1 einen:1 einem:1 einer:1 eines:1 eins:1 zwei:2 drei:3 vier:4 fünf:5"
    " sechs:6 sieben:7 acht:8 neun:9 zehn:10 elf:11 zwölf:12 dreizehn:13 vierzehn:14 fünfzehn:15"
    " sechzehn:16 siebzehn:17 achtzehn:18 neunzehn:19 zwanzig:20 dreißig:30 vierzig:40 fünfzig:50"
    " hundert:100 tausend:1000 erste:1 ersten:1 erster:1 erstes:1 zweite:2 zweiten:2 zweiter:2"
    " dritte:3 dritten:3 dritter:3 vierte:4 vierten:4 fünfte:5 fünften:5 einmal:1 zweimal:2"
    " dreimal:3 doppelt:2 dutzend:12 einzige:1 halbe:2 hälfte:2 viertel:4",
    "es": "cero:0 un:1 uno:1 una:1 dos:2 tres:3 cuatro:4 cinco:5 seis:6 siete:7 ocho:8 nueve:9"
    " diez:10 once:11 doce:12 trece:13 catorce:14 quince:15 dieciséis:16 diecisiete:17"
    " dieciocho:18 diecinueve:19 veinte:20 treinta:30 cuarenta:40 cincuenta:50 cien:100 ciento:100"
    " mil:1000 primer:1 primero:1 primera:1 segundo:2 segunda:2 tercer:3 tercero:3 tercera:3"
    " cuarto:4 cuarta:4 quinto:5 quinta:5 doble:2 docena:12 único:1 única:1 medio:2 mitad:2",
    "it": "zero:0 un:1 uno:1 una:1 due:2 tre:3 quattro:4 cinque:5 sei:6 sette:7 otto:8 nove:9"
    " dieci:10 undici:11 dodici:12 tredici:13 quattordici:14 quindici:15 sedici:16 diciassette:17"
    " diciotto:18 diciannove:19 venti:20 trenta:30 quaranta:40 cinquanta:50 cento:100 mille:1000"
    " primo:1 prima:1 primi:1 secondo:2 seconda:2 terzo:3 terza:3 quarto:4 quarta:4 quinto:5"
    " quinta:5 doppio:2 dozzina:12 solo:1 sola:1 mezzo:2 metà:2",
}
# Words of numbers that mean nothing else, so that their change is a fault.
PLAIN_WORDS = {
    "en": "three four five six seven eight nine ten eleven twelve",
    "fr": "trois quatre cinq huit dix onze douze",
    "de": "drei vier fünf sechs sieben neun zehn zwölf",
    "es": "tres cuatro cinco seis siete ocho nueve diez doce",
    "it": "tre quattro cinque sette otto nove dieci dodici",
}
_MONTHS = {
    "en": "january february march april may june july august september october november december",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre"
    " diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre"
    " dicembre",
}


@functools.cache
def units() -> dict[str, str]:
    """Return the form in which units are compared, by how they are written.

    Example:
        >>> units()["Go"]
        'GB'
    """
    return {name: unit for unit, names in _UNITS.items() for name in names.split()}


@functools.cache
def scales(code: str) -> dict[str, int]:
    """Return powers of ten by the words of a language; of all languages for another code.

    Example:
        >>> scales("en")["billion"]
        9
    """
    return _table(_SCALES, code)


@functools.cache
def number_words(code: str) -> dict[str, int]:
    """Return numbers by the words of a language, months too; of all languages for another code.

    Example:
        >>> number_words("fr")["deux"]
        2
    """
    months = {
        month: number
        for language, names in _MONTHS.items()
        if language == code or code not in _MONTHS
        for number, name in enumerate(names.split(), 1)
        for month in (name, name[:3])
    }
    return months | _table(_NUMBER_WORDS, code)


def _table(tables: dict[str, str], code: str) -> dict[str, int]:
    """Return the values of a language's words."""
    chosen = [tables[code]] if code in tables else list(tables.values())
    pairs = (pair.rpartition(":") for words in chosen for pair in words.split())
    return {word: int(value) for word, _, value in pairs}
