"""The commonest passwords that are long enough to pass otherwise, in lower case."""

_WORDS = """
    000000000000 010203040506 0r968ji9ufj6 102030405060 111111111111 111111111111111 112233445566 123123123123
    123321123321 123456123456 123456654321 123456789000 12345678900987654321 1234567890123 12345678901234567890
    1234567890987654321 1234567890qwertyuiop 1234567891011 123456789101112 123456789123 123456789123456
    1234567891234567 123456789123456789 12345678987654321 123456789987654321 123456789abc 123456789asd 123456789qaz
    123456789qwe 123456789qwerty 123456qwerty 123admin321a 123qwe123qwe 123qweasdzxc 159753159753 1q2w3e4r5t6y
    1q2w3e4r5t6y7u 1q2w3e4r5t6y7u8i 1q2w3e4r5t6y7u8i9o 1q2w3e4r5t6y7u8i9o0p 1qaz2wsx3edc 1qaz2wsx3edc4rfv
    1qazxsw23edc 520love101182 5532361cnjqrf adminadmin123 adminadminadmin administrator administrator1
    administrator123 arabella24630 asdfghjkl123 avrillavigne azertyuiopqs changeme1234 changemechangeme
    changemeplease christopher1 combat123654 contrasena123 cookiemonster correcthorsebatterystaple cosmopolitan
    counterstrike defaultpassword demon1q2w3e4r demon1q2w3e4r5t dfg5fhg5vgfh1 dragondragon edwardcullen
    ezekiel11991 familiyafamiliya finalfantasy football12345 g13916055158 gettherefast gfhjkmgfhjkm ghbdtnrfrltkf
    ghhh47hj7649 googletester hallohallohallo hannahmontana hawkesbury93 ichliebedich ihatethisgame ilovemyfamily
    iloveyou12345 iloveyouforever imyaimyaimya inactive1996aug ingodwetrust international internazionale
    jamesbond007 jesuslovesme jkiuztdftl57 jundian2011xr justinbieber kartoffelpuffer knackwurst8853 laurel12creek
    leavemealone leliane50934 letmein12345 letmeinletmein lightpower12345 linkedin2011 liverpool123 lovelovelove
    m01759766727 manchesterunited maprchem56458 marek14michal maskfleet1234 maskfleetmaskfleet masterpassword
    megaparol12345 michaeljackson migrationschool minecraft123 moderncombat monkeymonkey123 motdepasse123
    motdepasse1234 mysecretpassword natiichen999 needforspeed neworleans12345 nopasswordhere onedirection
    opensesame123 password1234 password12345 password123456 password1234567 password123456789 passwordpassword
    passwort1234 passwort12345 peanutbutter playstation2 playstation3 princess12345 professional projectsadminx
    przyjaciolki q1w2e3r4t5y6 q1w2e3r4t5y6u7i8o9p0 qazwsxedc123 qazwsxedcrfv qazwsxedcrfvtgb qazxswedcvfr
    qwe123qwe123 qweasdzxc123 qwerasdfzxcv qwerty123456 qwertyasdfgh qwertyqwerty qwertyuiop12 qwertyuiop123
    qwertyuiopasdfgh qwertyytrewq qwertzuiopas raspberrypi123 raspberrypi4 raspberryraspberry residentevil
    s8ylpe9jdpvym sdf7asdf6asdg8df sebastian106 secretpassword secretsecret seniseviyorum sojdlg123aljg
    somanypickles27 sonnenschein sonyericsson startfinding starwarsfan10 stefangreil1983 stratocaster summer202024
    sunshine12345 supernatural supersecret123 telechargement temppassword testtest1234 testtesttest thisisapassword
    thisismypassword total12scherz transformers trustno1trustno1 welcome12345 welcome123456 weronika1992
    winter202024 xantria10315 xtseo2011tdx zaq1xsw2cde3 zxcasdqwe123
"""
COMMONEST = frozenset(_WORDS.split())
