"""Words, endings and letters by which the five first-class languages are told apart.

The words are the commonest ones of each language, and those that software and lessons say most.
A word of several languages counts for each of them, so that it decides nothing between them.
"""

from __future__ import annotations

# Separated by spaces.
WORDS: dict[str, str] = {
    "en": (
        "the of and to in is for that with are on as by be this you it from or an at not can will"
        " have has your we if when which all there their they its was were our more one other use"
        " used using than then them these those only also into some such but do does did don t"
        " must should would could may might each any no how what where why who whose out up so"
        " about over after before between through during without within while because both same"
        " like just here now very most many much few been being he she his her my me us i had s re"
        " ve ll isn doesn aren cannot want need make made get set let see show shows new first two"
        " next last file files cell cells open close save add remove delete run running click"
        " select selected change changed name value values list text user users page line lines"
        " please enter required allowed default whether please available number key"
        " call calls return returns given take takes keep keeps left right read write loaded load"
        " loading getting started started start begin end work works working example examples"
        " data set settings enabled disabled enable disable following below above current already"
        " always never every another again back still even well long good know data"
    ),
    "fr": (
        "le la les l de du des un une et à au aux en dans pour par sur avec sans est sont être"
        " a ont avoir il elle ils elles on nous vous je tu me te se ce cet cette ces son sa ses"
        " leur leurs votre vos notre nos mon ma mes qui que qu quoi dont où ou mais donc or ni car"
        " ne pas plus moins très d n s c j m t y si comme lorsque quand lors après avant entre"
        " sous vers chez depuis pendant afin aussi ainsi alors tout tous toute toutes autre autres"
        " même mêmes peut peuvent doit doivent fait faire faut veuillez avez êtes été était sera"
        " seront serait soit ici là cela ceci celui celle ceux aucun aucune chaque plusieurs"
        " quelques déjà toujours jamais encore bien lui eux deux trois premier première dernier"
        " fichier fichiers cellule cellules ouvrir fermer enregistrer ajouter supprimer exécuter"
        " sélectionner modifier changer nom valeur valeurs liste texte utilisateur utilisateurs"
        " ligne lignes défaut données affichage afficher utiliser utilisé utilise appelez"
        " cliquez choisir choisissez nombre nouveau nouvelle suivant suivante erreur permet"
        " saisissez réponse non oui"
    ),
    "de": (
        "der die das den dem des ein eine einen einem einer eines und oder aber ist sind war waren"
        " wird werden wurde wurden worden sein hat haben hatte kann können konnte muss müssen soll"
        " sollen sollte darf dürfen möchten möchte ich du er sie es wir ihr ihre ihren ihrem ihrer"
        " ihres mich mir dich dir uns euch sich mein dein unser nicht kein keine keinen keinem"
        " keiner mit von vom zu zum zur in im ins an am auf aus bei beim nach vor für über unter"
        " zwischen durch ohne gegen um bis seit während wenn als wie dass ob weil da damit daß"
        " auch noch nur schon sehr mehr hier dort dann dann so doch nun jetzt immer nie alle allen"
        " alles andere anderen diese dieser dieses diesen diesem jede jeder jedes jeden welche"
        " welcher welches was wer wo warum bitte geben wählen öffnen schließen speichern löschen"
        " hinzufügen ändern datei dateien zelle zellen zeile zeilen wert werte liste benutzer"
        " name seite verwenden verwendet werden zwei drei ersten erste neue neuen neuer neues"
        " standardmäßig fehler ausführen anzeigen ausgewählt ausgewählten bereits beispiel"
        " daten einige einiger mehrere ab wieder hin etwas man gibt lassen nein ja bevor sobald"
        " falls sowie bzw"
    ),
    "es": (
        "el la los las un una unos unas de del y e o u a al en para por con sin sobre entre desde"
        " hasta hacia según durante es son ser era está están estar fue ha han haber hay había se"
        " lo le les me te nos su sus mi mis tu tus nuestro nuestra este esta estos estas ese esa"
        " esos esas eso esto aquel que qué quien cual cuál cuales cuando cuándo donde dónde como"
        " cómo si no ni pero porque pues aunque más menos muy tan también ya aún todavía siempre"
        " nunca todo toda todos todas otro otra otros otras mismo misma cada algún alguna algunos"
        " algunas ningún ninguna puede pueden debe deben desea quiere usted ustedes yo él ella"
        " ellos ellas así aquí allí ahora después antes luego dos tres primer primero primera"
        " último última nuevo nueva nuevos archivo archivos celda celdas abrir cerrar guardar"
        " añadir agregar eliminar borrar ejecutar seleccionar seleccione cambiar nombre valor"
        " valores lista texto usuario usuarios línea líneas fichero datos mostrar usar utilizar"
        " introduzca ingrese haga clic por favor error número sido tiene tienen hacer será serán"
        " solo sólo mediante uno les sea estén contiene utilice sí"
    ),
    "it": (
        "il lo la i gli le l un uno una di del dello della dei degli delle e ed o a ad al allo"
        " alla ai agli alle da dal dallo dalla dai dagli dalle in nel nello nella nei negli nelle"
        " con su sul sullo sulla sui sugli sulle per tra fra è sono essere era stato stata stati"
        " state ha hanno avere ho hai abbiamo che chi cui quale quali quando dove come se non né"
        " ma però perché anche ancora già sempre mai più meno molto tanto tutto tutta tutti tutte"
        " altro altra altri altre stesso stessa ogni qualche alcuni alcune nessun nessuna può"
        " possono deve devono vuoi vuole si ci vi ne mi ti lui lei loro noi voi io tu mio mia tuo"
        " tua suo sua nostro questo questa questi queste quello quella quei quelle così qui lì ora"
        " adesso dopo prima poi due tre primo nuovo nuova nuovi file cella celle apri aprire"
        " chiudi chiudere salva salvare aggiungi aggiungere rimuovi elimina eliminare esegui"
        " eseguire seleziona selezionare cambia cambiare modifica nome valore valori lista testo"
        " utente utenti riga righe dati mostra mostrare usa usare utilizzare inserire inserisci"
        " d dell all nell sull dall quest c errore numero verrà viene vengono sia siano fare"
        " contiene dovrebbe almeno massimo elementi solo"
        " fatto essere senza durante sopra sotto attraverso oppure quindi"
    ),
}

# Endings of words of at least five letters.
ENDINGS: dict[str, tuple[str, ...]] = {
    "en": ("ing", "ed", "ly", "ness", "ght", "ould", "ck", "wn", "ity", "ful", "able", "ship"),
    "fr": ("eux", "euse", "aux", "ment", "tion", "ions", "ez", "ette", "eur", "aire", "ées", "és"),
    "de": ("ung", "ungen", "keit", "heit", "lich", "liche", "isch", "ische", "schaft", "en", "cht"),
    "es": ("ción", "ciones", "dad", "dades", "ando", "iendo", "ado", "ados", "ada", "adas", "ar"),
    "it": ("zione", "zioni", "ità", "ando", "endo", "ato", "ati", "ata", "ate", "are", "ggio"),
}

# Letters, alone and in groups.
LETTERS: dict[str, str] = {
    "en": r"th|wh|sh|\bkn|oo|gh\b|\w'(?:s|t|re|ll|ve)\b",
    "fr": r"[êçœîûâ]|é|\b[ldnscjm]['\u2019]|eau|oi|\bqu['\u2019]|è",
    "de": r"[äöüß]|sch|\bge\w{4}|tz|\bei|ie[rnd]|\bver|cht",
    "es": r"[ñ¿¡óí]|[áú]|ll|\w+ión\b|ue",
    "it": r"[òì]|\w[àèù]\b|zz|gli|cch|sci|tt|\bl['\u2019]|\b(?:d|un)['\u2019]",
}
